"""Label-preserving augmentation of training images, seeded per draw."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from medproof.images.grid import Grid
from medproof.records import Item
from medproof.training.sections import Augment

Pixels = npt.NDArray[np.uint8]

_SIDED_TYPES = ("Anatomy Identification", "Other Biological Attributes")


def may_flip(item: Item) -> bool:
    """Mirroring is safe only where neither the question nor a stated fact can speak of a side."""
    return item.question_type not in _SIDED_TYPES and not item.facts.get("where")


def augment(pixels: Pixels, item: Item, grid: Grid, how: Augment, rng: np.random.Generator) -> Pixels:
    """(H, W, 3) uint8 at stored size -> (h, w, 3) uint8 on the grid of the *whole* image.

    Crop and resize are one bicubic pass; without any change switched on this is `grid.render`.
    """
    height, width = pixels.shape[:2]
    to_height, to_width = grid.size(height, width)
    left, right, top, bottom = rng.uniform(0, how.crop, 4) if how.crop else np.zeros(4)
    box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    if how.crop:
        image = Image.fromarray(pixels).resize((to_width, to_height), Image.Resampling.BICUBIC, box=box)
        out: Pixels = np.asarray(image)
    else:
        out = grid.render(pixels)
    if how.flip and may_flip(item) and rng.random() < 0.5:
        out = out[:, ::-1]
    if how.gain or how.gamma:
        gain = 1 + rng.uniform(-how.gain, how.gain)
        exponent = 1 + rng.uniform(-how.gamma, how.gamma)
        out = _intensity_table(gain, exponent)[out]
    return np.ascontiguousarray(out)


def _intensity_table(gain: float, exponent: float) -> Pixels:
    """(256,) lookup: exponent first, then contrast about mid-grey, clipped."""
    levels = (np.arange(256) / 255.0) ** exponent
    stretched = 0.5 + gain * (levels - 0.5)
    return np.asarray(np.clip(np.rint(stretched * 255), 0, 255), dtype=np.uint8)
