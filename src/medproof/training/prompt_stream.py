"""Which prompt is asked when: a pure function of (recipe seed, index), so resuming needs no sampler state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medproof.images.grid import Grid
from medproof.models.chat import Chat
from medproof.models.prompts import messages
from medproof.records import Item, Message, Mode
from medproof.seeds import derive_seed
from medproof.training.examples import ExampleStream
from medproof.training.groups import Prompt


def make_prompt(
    chat: Chat,
    grid: Grid,
    item: Item,
    mode: Mode,
    image: npt.NDArray[np.uint8],
    seed: int,
    asked: tuple[Message, ...] | None = None,
    evidence: bool = True,
) -> Prompt:
    """image: uint8 (H, W, 3) on the grid. asked: the chat, by default the item's own."""
    asked = messages(item, mode) if asked is None else asked
    return Prompt(item, mode, asked, image, chat.prompt_ids(asked, grid.tokens(*image.shape[:2])), seed, evidence)


class PromptStream:
    """The examples of an `ExampleStream` as prompts; prompt `index` is the same on every process."""

    def __init__(self, stream: ExampleStream, chat: Chat, grid: Grid, seed: int) -> None:
        self._stream = stream
        self._chat = chat
        self._grid = grid
        self._seed = seed

    def prompts(self, indices: Sequence[int]) -> list[Prompt]:
        """The prompts at these places of the endless stream."""
        return [self._prompt(index) for index in indices]

    def _prompt(self, index: int) -> Prompt:
        example = self._stream.example(index)
        seed = derive_seed(self._seed, example.item.id, f"rollout:{index}")
        e = example
        return make_prompt(self._chat, self._grid, e.item, e.mode, e.image, seed, e.asked, e.evidence)
