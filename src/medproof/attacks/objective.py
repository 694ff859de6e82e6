"""How an attack asks a model: pixels in, loss and verdict per example out. Attacks know nothing else of models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from medproof.models.protocol import Objective, WhiteBox
from medproof.records import View


class Score(Protocol):
    """`score(pixels, indices)`: pixels[j] is an image (3, H, W) in [0, 1] of the example indices[j].

    Returns (loss, adversarial): loss (n,), differentiable in the pixels, larger is more adversarial, each entry a
    function of its own image only; adversarial (n,) bool, whether the model is already wrong on that image.
    """

    def __call__(self, pixels: Sequence[Tensor], indices: Sequence[int], /) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class OptionScore:
    """Forced-choice score of a white-box model: wrong once some wrong option's letter beats the right one's.

    The margin alone decides (margin > 0), with any number of options from two up. Objective `answer` drives the
    attack by -log p of the right letter and asks for the margin in a second forward pass without gradient.
    `prefixes` is the reply before the answer slot, one per view; None: the slot opens the reply.
    """

    model: WhiteBox
    views: Sequence[View]
    objective: Objective = "margin"
    prefixes: Sequence[str] | None = None

    @property
    def forwards_per_call(self) -> int:
        """Forward passes of the model that one call takes."""
        return 1 if self.objective == "margin" else 2

    def __call__(self, pixels: Sequence[Tensor], indices: Sequence[int], /) -> tuple[Tensor, Tensor]:
        views = [self.views[i] for i in indices]
        prefixes = None if self.prefixes is None else [self.prefixes[i] for i in indices]
        loss = self.model.loss(pixels, views, self.objective, prefixes)
        if self.objective == "margin":
            return loss, loss.detach() > 0
        with torch.no_grad():
            margin = self.model.loss(pixels, views, "margin", prefixes)
        return loss, margin > 0
