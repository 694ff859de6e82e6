"""Which prompt is asked when: a pure function of (recipe seed, index), so resuming needs no sampler state."""

from __future__ import annotations

from collections.abc import Sequence

from medproof.images.grid import Grid
from medproof.models.chat import Chat
from medproof.seeds import derive_seed
from medproof.training.examples import Example, ExampleStream
from medproof.training.groups import Prompt


def make_prompt(chat: Chat, grid: Grid, example: Example, seed: int) -> Prompt:
    """The example as it is asked, with its own image, whatever is shown instead."""
    e = example
    ids = chat.prompt_ids(e.asked, grid.tokens(*e.image.shape[:2]))
    return Prompt(e.item, e.mode, e.asked, e.image, ids, seed, e.empty)


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
        return make_prompt(self._chat, self._grid, example, seed)
