"""How far an image may be moved and was moved, as numbers for `View.info`. No torch."""

from fractions import Fraction

import numpy as np

from medproof.conditions.context import Pixels
from medproof.conditions.kind import Arguments
from medproof.conditions.parameters import grey_levels


def distances(clean: Pixels, image: Pixels) -> dict[str, float]:
    """`linf_255`: largest change in grey levels; `l2`: length of the change in units of [0, 1] pixels."""
    moved = image.astype(np.int64) - clean.astype(np.int64)
    return {"linf_255": float(np.abs(moved).max()), "l2": float(np.sqrt(np.square(moved).sum())) / 255}


def budget(given: Arguments) -> dict[str, float]:
    """eps as the report shows it: `eps_255` in grey levels for linf, `eps_l2` in [0, 1] pixels for l2."""
    if given["norm"] == "linf":
        return {"eps_255": float(grey_levels(given["eps"]))}
    return {"eps_l2": float(Fraction(given["eps"]))}
