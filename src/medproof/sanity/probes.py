"""Measurements of the model itself, on clean and on attacked images: no attack is run here but on planted readouts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medproof.evaluation.loop import BATCH_TOKENS
from medproof.images.preprocess import to_float
from medproof.models.protocol import WhiteBox
from medproof.records import View
from medproof.seeds import derive_seed, rng

LEVELS = 4
"""Grey levels of noise either way: the draws of Pintor et al. are of this size (8/255 wide)."""
DRAWS = 8
_MOST = 16


@dataclass(frozen=True)
class Slots:
    """Views with an image each, and the reply before each answer slot; None where the slot opens the reply."""

    views: Sequence[View]
    prefixes: Sequence[str] | None

    def parts(self, model: WhiteBox) -> Iterator["Slots"]:
        """A few views at a time, as memory allows."""
        longest = max((model.cost(view) for view in self.views), default=1)
        size = max(1, min(_MOST, BATCH_TOKENS // longest))
        for start in range(0, len(self.views), size):
            yield self.take(range(start, min(start + size, len(self.views))))

    def take(self, indices: Sequence[int]) -> "Slots":
        """Some of them, by index, also more than once."""
        prefixes = None if self.prefixes is None else [self.prefixes[i] for i in indices]
        return Slots([self.views[i] for i in indices], prefixes)


def smoothness(model: WhiteBox, slots: Slots, seed: int) -> tuple[list[float], list[float]]:
    """Margins of the clean images, and the mean absolute change of each under DRAWS uniform noises, in nats."""
    clean = margins(model, slots)
    changes = [0.0] * len(clean)
    for draw in range(DRAWS):
        noisy = [
            replace(view, image=_noisy(view, derive_seed(seed, view.item.id, f"smooth {draw}"))) for view in slots.views
        ]
        for i, value in enumerate(margins(model, Slots(noisy, slots.prefixes))):
            changes[i] += abs(value - clean[i]) / DRAWS
    return clean, changes


def margins(model: WhiteBox, slots: Slots) -> list[float]:
    """Option margin of each view by the differentiable path, in nats; above 0 the forced choice is wrong."""
    found: list[float] = []
    for part in slots.parts(model):
        with torch.no_grad():
            found.extend(model.loss(pixels_of(model, part.views), part.views, "margin", part.prefixes).float().tolist())
    return found


def stock_margins(model: WhiteBox, slots: Slots) -> list[float]:
    """The same by the stock processor and the decoding path."""
    found: list[float] = []
    for part in slots.parts(model):
        for view, row in zip(part.views, model.option_logprobs(part.views, part.prefixes), strict=True):
            right = view.item.answer_index
            found.append(float(np.delete(row, right).max() - row[right]))
    return found


def features_of(model: WhiteBox, slots: Slots) -> Callable[[Sequence[Tensor], Sequence[int]], Tensor]:
    """(images, indices) -> (n, D): hidden state at the answer slot of the views `indices` with other images."""

    def features(pixels: Sequence[Tensor], indices: Sequence[int]) -> Tensor:
        some = slots.take(indices)
        return model.slot_features(pixels, some.views, some.prefixes)

    return features


def pixels_of(model: WhiteBox, views: Sequence[View]) -> list[Tensor]:
    """Float images (3, H, W) on the device of the model. Raises ValueError for a view without an image."""
    images = [view.image for view in views]
    return [to_float(_present(image)).to(model.device) for image in images]


def _present(image: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.uint8]:
    if image is None:
        raise ValueError("a view without an image cannot be probed")
    return image


def _noisy(view: View, seed: int) -> npt.NDArray[np.uint8]:
    clean = _present(view.image)
    delta = rng(seed, view.item.id, "noise").integers(-LEVELS, LEVELS + 1, clean.shape, dtype=np.int16)
    return (clean + delta).clip(0, 255).astype(np.uint8)
