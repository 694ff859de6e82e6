"""What a certificate on the grid says about the image before its resize: little, and nothing unless it is asked for.

The resize is u -> clamp(round(A u)) for each of two axes. Clamping brings no two images further apart, and a linear
filter stretches their distance at most by its spectral norm. Rounding to 8 bit can add up to one grey level to the
difference of any value, however small it was: sqrt(values) / 255 in L2, which exceeds the usual radius on all but the
smallest images. A model that resizes in float, without rounding, has only the norm to divide by.
"""

from __future__ import annotations

import functools
import math

import numpy as np

Size = tuple[int, int]
"""(height, width) in pixels."""
CHANNELS = 3
_ARITHMETIC = 1e-9
"""Relative allowance for the arithmetic of the singular values."""


def resize_norm(source: Size, grid: Size) -> float:
    """Spectral norm of the linear part of the bicubic resize from `source` to `grid`: 1 where it has nothing to do.

    The filter is separable, A = A_height (x) A_width, so its norm is the product of the norms of the two axes. Each is
    the largest singular value of the very matrix PIL filters with, fixed-point coefficients included; rounded up.
    """
    return _axis_norm(source[0], grid[0]) * _axis_norm(source[1], grid[1])


def source_radius(radius: float, source: Size, grid: Size, *, rounding: bool = True) -> float:
    """L2 radius, in [0, 1] pixels, around the image before its resize, that a radius on the grid implies; 0 for none.

    rounding=True: the 8-bit resize of the pipeline, rounded after each pass. rounding=False: one in float, clamped or
    not. The source is the decoded RGB image; nothing is said about its file, window or compression.
    """
    norms = _axis_norm(source[0], grid[0]), _axis_norm(source[1], grid[1])
    if not rounding:
        return radius / (norms[0] * norms[1])
    # PIL filters height or width first, by version and size: the worse order counts.
    return max(0.0, min(_through_passes(radius, source, grid, axes) for axes in ((0, 1), (1, 0))))


def _through_passes(radius: float, source: Size, grid: Size, axes: tuple[int, int]) -> float:
    """From the grid back through both passes: take off what rounding may have added, divide by the norm."""
    sizes = [tuple(grid[a] if a in axes[: done + 1] else source[a] for a in (0, 1)) for done in range(2)]
    for axis, after in zip(reversed(axes), reversed(sizes), strict=True):
        if source[axis] != grid[axis]:  # else PIL leaves the pass out
            radius = (radius - math.sqrt(after[0] * after[1] * CHANNELS) / 255) / _axis_norm(source[axis], grid[axis])
    return radius


@functools.lru_cache(maxsize=64)
def _axis_norm(length: int, out: int) -> float:
    if length == out:
        return 1.0
    from medproof.images.preprocess import bicubic_matrix  # imports torch

    return float(np.linalg.norm(bicubic_matrix(length, out), 2)) * (1 + _ARITHMETIC)
