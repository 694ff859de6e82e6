"""Shapes whose figures are known in closed form."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medproof.bench import regions
from medproof.bench.task import binned
from medproof.images.grid import Grid
from medproof.records import Box


def rectangle(width: int, height: int, at: tuple[int, int] = (3, 5), side: int = 60) -> np.ndarray:
    mask = np.zeros((side, side), dtype=bool)
    mask[at[1] : at[1] + height, at[0] : at[0] + width] = True
    return mask


@given(st.integers(1, 40), st.integers(1, 40))
def test_rectangles(width: int, height: int) -> None:
    """Second moments of a rectangle are in the ratio of its squared sides; it is its own hull."""
    mask = rectangle(width, height)
    small, large = sorted((width, height))
    assert regions.eccentricity(mask) == pytest.approx(math.sqrt(1 - (small / large) ** 2), abs=1e-6)
    assert regions.solidity(mask) == pytest.approx(1)
    assert regions.diameter(mask) == pytest.approx(math.hypot(width, height))
    assert regions.parts(mask) == (regions.Part((3, 5, 3 + width, 5 + height), width * height),)


def test_a_notch_lowers_solidity() -> None:
    mask = rectangle(4, 4)
    mask[5:7, 3:5] = False  # hull: 4 x 4 less a triangle of 2 x 2 / 2
    assert regions.solidity(mask) == pytest.approx(12 / 14)


def test_parts_touch_at_corners() -> None:
    mask = np.zeros((8, 8), dtype=bool)
    mask[0, 0] = mask[1, 1] = mask[5, 5] = True
    assert [part.xyxy for part in regions.parts(mask)] == [(0, 0, 2, 2), (5, 5, 6, 6)]


def test_visible_pixels_are_those_of_the_grid() -> None:
    half = Grid(min_pixels=28 * 28, max_pixels=28 * 28)
    mask = np.zeros((56, 56), dtype=bool)
    mask[:20, :10] = True
    assert regions.visible_pixels(mask, half) == 50
    mask[:] = False
    mask[0, 0] = True  # a quarter of a pixel of the grid
    assert regions.visible_pixels(mask, half) == 0


def test_contrast_is_inside_less_ring() -> None:
    grey = np.full((60, 60), 50, dtype=np.uint8)
    mask = rectangle(10, 10, (20, 20))
    grey[mask] = 90
    grey[:5] = 255  # outside the ring
    assert regions.contrast(grey, mask, 3) == 40
    assert regions.contrast(grey, np.ones_like(mask), 3) is None


def test_iou() -> None:
    a, b = Box(label="a", xyxy=(0, 0, 4, 4)), Box(label="b", xyxy=(2, 2, 6, 6))
    assert regions.iou(a, b) == pytest.approx(4 / 28)
    assert regions.iou(a, a) == 1
    assert regions.iou(a, Box(label="c", xyxy=(4, 0, 8, 4))) == 0


@pytest.mark.parametrize(("value", "name"), [(0.5, "low"), (0.92, None), (1.05, None), (1.2, "high")])
def test_bins_have_a_margin(value: float, name: str | None) -> None:
    assert binned(value, (1.0,), ("low", "high"), 0.1) == name
