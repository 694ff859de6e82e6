"""Boxes, differences and blanks."""

import numpy as np
import pytest

from medproof.images.overlay import amplified_difference, blank_like, draw_box


def test_box_surrounds_its_region_and_leaves_it_visible() -> None:
    image = np.full((112, 112, 3), 90, np.uint8)
    drawn = draw_box(image, (30, 40, 70, 80), colour=(255, 0, 0))
    assert (image == 90).all()
    assert (drawn[45:75, 35:65] == 90).all()
    changed = np.argwhere((drawn != image).any(axis=2))
    assert changed.min(axis=0).tolist() == [38, 28]
    assert changed.max(axis=0).tolist() == [81, 71]
    red = np.argwhere((drawn == (255, 0, 0)).all(axis=2))
    assert red.min(axis=0).tolist() == [39, 29]
    assert red.max(axis=0).tolist() == [80, 70]


@pytest.mark.parametrize(
    "box", [(0, 0, 20, 20), (-5, -5, 40, 40), (20, 20, 28, 28), (5, 5, 6, 6), (0.5, 0.5, 27.9, 27.9)]
)
@pytest.mark.parametrize("level", [0, 255])
def test_line_is_seen_on_any_ground_even_at_the_border(box: tuple[float, float, float, float], level: int) -> None:
    drawn = draw_box(np.full((28, 28, 3), level, np.uint8), box)
    yellow = (drawn == (255, 221, 0)).all(axis=2)
    assert yellow.any(axis=0).sum() >= 3
    assert yellow.any(axis=1).sum() >= 3
    assert yellow.sum() >= 8


def test_box_outside_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        draw_box(blank_like(10, 10), (20, 20, 30, 30))


def test_largest_difference_fills_the_range() -> None:
    a = np.full((4, 4, 3), 100, np.uint8)
    b = a.copy()
    b[0, 0, 0], b[1, 1, 1] = 104, 98
    shown, factor = amplified_difference(a, b)
    assert factor == 127 / 4
    assert shown[0, 0, 0] == 255
    assert shown[1, 1, 1] == 128 - 63
    assert shown[2, 2].tolist() == [128, 128, 128]
    assert amplified_difference(b, a)[0][0, 0, 0] == 1


def test_extreme_and_no_difference() -> None:
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert amplified_difference(black, white)[0].max() == 255
    assert amplified_difference(white, black)[0].min() == 1
    shown, factor = amplified_difference(white, white)
    assert factor == 1.0
    np.testing.assert_array_equal(shown, blank_like(2, 2))


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        amplified_difference(blank_like(2, 2), blank_like(2, 3))
