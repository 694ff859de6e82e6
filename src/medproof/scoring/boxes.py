"""Boxes in answers: how they are read, and how far two of them agree. (x0, y0, x1, y1) throughout."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from medproof.scoring.intervals import Floats

XYXY = tuple[float, float, float, float]
SCALE = 1000.0
"""Boxes are written in thousandths of the width and height, the same on every grid."""

_N = r"\s*(\d+(?:\.\d+)?)\s*"
_BOX = re.compile(rf"[\[(]{_N},{_N},{_N},{_N}[\])]|\({_N},{_N}\)\s*,?\s*\({_N},{_N}\)")


def boxes_in(text: str) -> tuple[XYXY, ...]:
    """The boxes that a text states, as `[x0, y0, x1, y1]` or `(x0, y0), (x1, y1)`, in thousandths, each once.

    What lies outside the image, or is no box, is none.
    """
    found = [_read([float(n) for n in match if n]) for match in _BOX.findall(text)]
    return tuple(dict.fromkeys(box for box in found if box is not None))


def as_box(option: str) -> XYXY | None:
    """The box that an option is; None where it says anything else."""
    match = _BOX.fullmatch(option.strip())
    return _read([float(n) for n in match.groups() if n]) if match else None


def in_pixels(box: XYXY, width: float, height: float) -> XYXY:
    """From thousandths to pixels of an image of that size."""
    x0, y0, x1, y1 = box
    return x0 * width / SCALE, y0 * height / SCALE, x1 * width / SCALE, y1 * height / SCALE


def mirrored(box: XYXY, width: float) -> XYXY:
    """The same box on the other side of an image of that width."""
    return width - box[2], box[1], width - box[0], box[3]


def iou(a: XYXY, b: XYXY) -> float:
    """Intersection over union."""
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return shared / (_area(a) + _area(b) - shared)


def points_at(box: XYXY, target: XYXY, tolerance: float) -> bool:
    """Whether the centre of `box` lies within `tolerance` (same unit) of `target`: the pointing game."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    right = max(target[0] - x, 0.0, x - target[2])
    down = max(target[1] - y, 0.0, y - target[3])
    return bool(np.hypot(right, down) <= tolerance)


def best_matching(a: Sequence[XYXY], b: Sequence[XYXY], at: float | None = None) -> float:
    """The one-to-one matching of two sets that is best: sum of IoU, or, with `at`, pairs of at least that IoU."""
    if not a or not b:
        return 0.0
    overlaps: Floats = np.array([[iou(one, other) for other in b] for one in a])
    gain = overlaps if at is None else (overlaps >= at).astype(np.float64)
    if 1 in gain.shape:
        return float(gain.max())
    from scipy.optimize import linear_sum_assignment

    return float(gain[linear_sum_assignment(gain, maximize=True)].sum())


def _read(edges: Sequence[float]) -> XYXY | None:
    x0, y0, x1, y1 = edges
    return (x0, y0, x1, y1) if x0 < x1 <= SCALE and y0 < y1 <= SCALE else None


def _area(box: XYXY) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
