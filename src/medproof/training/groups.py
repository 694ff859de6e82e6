"""The group: one prompt, one image, G completions. The unit of batch, sampler, micro-batch and metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from medproof.conditions.controls import GREY
from medproof.images.preprocess import to_float
from medproof.records import Item, Message, Mode, pixels_sha256


@dataclass(frozen=True, eq=False)
class Prompt:
    """One question about one image, to be answered G times.

    image: uint8 (H, W, 3) on the model's grid. ids: the chat up to where the assistant begins, image tokens included.
    seed: from which every draw of its completions is derived, so that no batch or process can change them.
    empty: the image shows nothing, and the right reply is a refusal.
    """

    item: Item
    mode: Mode
    messages: tuple[Message, ...]
    image: npt.NDArray[np.uint8]
    ids: tuple[int, ...]
    seed: int
    empty: bool = False


@dataclass(frozen=True)
class Completion:
    """One reply. ids: the tokens written, the end token included where the reply ended by itself."""

    ids: tuple[int, ...]
    text: str
    truncated: bool


@dataclass(frozen=True, eq=False)
class Group:
    """A prompt with its G completions."""

    prompt: Prompt
    completions: tuple[Completion, ...]


@dataclass(frozen=True, eq=False)
class Images:
    """The distinct images of a batch of prompts, each (3, H, W) in [0, 1], and which of them each prompt shows.

    Kept apart from the prompts: which image rollout, old, reference and policy are conditioned on is up to the caller.
    """

    pixels: tuple[torch.Tensor, ...]
    of: tuple[int, ...]

    @classmethod
    def of_prompts(cls, prompts: Sequence[Prompt]) -> Images:
        """The prompts' own images, equal ones once."""
        place: dict[str, int] = {}
        pixels: list[torch.Tensor] = []
        of: list[int] = []
        for prompt in prompts:
            sha = pixels_sha256(prompt.image)
            if sha not in place:
                place[sha] = len(pixels)
                pixels.append(to_float(prompt.image))
            of.append(place[sha])
        return cls(tuple(pixels), tuple(of))

    def blank(self) -> Images:
        """Mid-grey ones of the same sizes, as under the condition `blank`."""
        return Images(tuple(torch.full_like(pixels, GREY / 255) for pixels in self.pixels), self.of)

    def to(self, device: torch.device) -> Images:
        return Images(tuple(p.to(device) for p in self.pixels), self.of)
