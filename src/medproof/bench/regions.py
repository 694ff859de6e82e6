"""Shapes in masks: connected parts, tight boxes, eccentricity, solidity, diameter. Pure functions, no files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from medproof.images.grid import Grid
from medproof.records import Box
from medproof.scoring.boxes import iou as overlap

Mask = npt.NDArray[np.bool_]
Levels = npt.NDArray[np.uint8]

SMALLEST_GRID = Grid(min_pixels=28 * 28, max_pixels=112 * 112)
"""The coarsest grid an image is shown on (that of the built-in model): what is visible there is visible everywhere."""
_EIGHT = np.ones((3, 3), dtype=np.int8)


@dataclass(frozen=True)
class Part:
    """One connected part: tight box in pixel edges (x1, y1 exclusive) and area in pixels."""

    xyxy: tuple[int, int, int, int]
    area: int

    def box(self, label: str) -> Box:
        return Box(label=label, xyxy=self.xyxy)


def parts(mask: Mask) -> tuple[Part, ...]:
    """The 8-connected parts of (H, W), in the order of their first pixel."""
    labelled, _ = ndimage.label(mask, _EIGHT)
    areas = np.bincount(labelled.ravel())[1:]
    found = ndimage.find_objects(labelled)
    return tuple(
        Part((columns.start, rows.start, columns.stop, rows.stop), int(area))
        for (rows, columns), area in zip(found, areas)
    )


def box_mask(height: int, width: int, boxes: tuple[Box, ...]) -> Mask:
    """(H, W), true inside any of the boxes; an edge inside a pixel takes the whole pixel."""
    mask = np.zeros((height, width), dtype=np.bool_)
    for box in boxes:
        x0, y0, x1, y1 = box.xyxy
        mask[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = True
    return mask


def visible_pixels(mask: Mask, grid: Grid = SMALLEST_GRID) -> int:
    """Pixels of the rendered image that the mask covers by half or more."""
    height, width = grid.fixed_size(*mask.shape)
    shown = Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BOX)
    return int((np.asarray(shown) >= 128).sum())


def eccentricity(mask: Mask) -> float:
    """Of the ellipse with the same second moments: 0 for a disc, towards 1 for a line. Pixels are unit squares."""
    y, x = np.nonzero(mask)
    covariance = np.cov(np.stack([x, y]), bias=True) + np.eye(2) / 12  # 1/12: variance within a pixel
    small, large = np.linalg.eigvalsh(covariance)
    return float(np.sqrt(max(0.0, 1 - small / large)))


def solidity(mask: Mask) -> float:
    """Area over area of the convex hull, in (0, 1]; 1 for a convex shape with upright edges."""
    return float(mask.sum() / ConvexHull(_corners(mask)).volume)  # the "volume" of a plane hull is its area


def diameter(mask: Mask) -> float:
    """Largest distance between two corners of pixels of the mask (Feret), in pixels."""
    corners = _corners(mask)
    return float(pdist(corners[ConvexHull(corners).vertices]).max())


def contrast(grey: Levels, mask: Mask, margin: int) -> float | None:
    """Mean grey level inside the mask minus that of a ring of `margin` pixels around it; None without a ring."""
    ring = ndimage.binary_dilation(mask, _EIGHT, iterations=margin) & ~mask
    if not ring.any():
        return None
    return float(grey[mask].mean() - grey[ring].mean())


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    return overlap(a.xyxy, b.xyxy)


def _corners(mask: Mask) -> npt.NDArray[np.float64]:
    """(N, 2) corners of the mask's outer pixels, as (x, y)."""
    y, x = np.nonzero(mask & ~ndimage.binary_erosion(mask))
    points = np.concatenate([np.stack([x + dx, y + dy], axis=1) for dx in (0, 1) for dy in (0, 1)])
    return np.unique(points, axis=0).astype(np.float64)
