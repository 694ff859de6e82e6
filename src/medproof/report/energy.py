"""Where in an image an attack changes it: share of the change that lies on the evidence of the answer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medproof.errors import UserError
from medproof.records import Item
from medproof.report.gallery import Load, Pixels
from medproof.scoring.attack_key import random_controls
from medproof.scoring.scored import CLEAN, Scored

MOST = 64
"""Questions that are measured per condition: each takes two pictures from disk."""


def evidence_energy(scored: Scored, load: Load, attacks: Sequence[str]) -> dict[str, Any]:
    """Per condition, over the questions whose evidence is boxed: mean share of the squared change inside the boxes
    (`energy`), mean share of the image that the boxes take (`area`), `n`; `control` for random noise.

    A change that is spread evenly has energy = area. Questions without any change are left out, and so are conditions
    without a question left.
    """
    boxed = [item for item in scored.items.values() if _box_mask(item, (1, 1)) is not None]
    found = {}
    controls = list(random_controls(scored.conditions).values())
    for key in (*attacks, *controls):
        rows: list[tuple[float, float]] = []
        for item in boxed:
            if len(rows) == MOST:
                break
            if (pair := _pair(scored, load, item, key)) is not None and (shares := _shares(item, *pair)) is not None:
                rows.append(shares)
        if rows:
            energy, area = np.mean(rows, axis=0)
            found[key] = {"energy": float(energy), "area": float(area), "n": len(rows), "control": key in controls}
    return found


def _pair(scored: Scored, load: Load, item: Item, key: str) -> tuple[Pixels, Pixels] | None:
    """Clean and changed pixels of one size; None where one is absent or damaged."""
    shown = [scored.responses[condition].get(item.id) for condition in (CLEAN, key)]
    try:
        pictures = [None if response is None else load(response.image_sha256) for response in shown]
    except (UserError, OSError, ValueError):
        return None
    if pictures[0] is None or pictures[1] is None or pictures[0][0].shape != pictures[1][0].shape:
        return None
    return pictures[0][0], pictures[1][0]


def _shares(item: Item, clean: Pixels, changed: Pixels) -> tuple[float, float] | None:
    """(share of the squared change, share of the area) inside the boxes; None without change."""
    change = np.square(changed.astype(np.float64) - clean).sum(axis=2)
    inside = _box_mask(item, change.shape)
    if inside is None or not change.any():
        return None
    return float(change[inside].sum() / change.sum()), float(inside.mean())


def _box_mask(item: Item, shape: Sequence[int]) -> npt.NDArray[np.bool_] | None:
    """(H, W), true where a pixel's centre lies in a box; boxes are in the frame of the stored image."""
    if item.evidence is None or not item.evidence.boxes or item.width is None or item.height is None:
        return None
    height, width = shape
    y = (np.arange(height) + 0.5) * (item.height / height)
    x = (np.arange(width) + 0.5) * (item.width / width)
    inside = np.zeros((height, width), dtype=np.bool_)
    for box in item.evidence.boxes:
        x0, y0, x1, y1 = box.xyxy
        inside |= ((y >= y0) & (y < y1))[:, None] & ((x >= x0) & (x < x1))[None, :]
    return inside
