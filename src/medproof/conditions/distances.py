"""How far an image was moved, measured on its 8-bit pixels. No torch."""

import numpy as np

from medproof.conditions.context import Pixels


def distances(clean: Pixels, image: Pixels) -> dict[str, float]:
    """`linf_255`: largest change in grey levels; `l2`: length of the change in units of [0, 1] pixels."""
    moved = image.astype(np.int64) - clean.astype(np.int64)
    return {"linf_255": float(np.abs(moved).max()), "l2": float(np.sqrt(np.square(moved).sum())) / 255}
