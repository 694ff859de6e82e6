"""Boxes, differences and blanks."""

from collections.abc import Callable

import numpy as np
import pytest

from medproof.images.overlay import (
    CORNERS,
    Pixels,
    amplified_difference,
    blank_like,
    draw_arrow,
    draw_box,
    draw_circle,
    draw_contour,
    draw_text,
)


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


def test_a_contour_follows_its_region_one_pixel_off() -> None:
    region = np.zeros((60, 60), dtype=bool)
    region[20:30, 20:40] = region[30:40, 30:40] = True
    drawn = draw_contour(blank_like(60, 60), region)
    assert (drawn[region] == 128).all()
    line = np.argwhere((drawn == (255, 221, 0)).all(axis=2))
    where = np.argwhere(region)
    nearest = [np.abs(where - point).max(axis=1).min() for point in line]
    assert set(nearest) == {2}


@pytest.mark.parametrize("size", [(28, 28), (56, 112), (448, 300), (29, 1000)])
def test_nothing_drawn_leaves_the_image_and_the_input_stays(size: tuple[int, int]) -> None:
    height, width = size
    image = blank_like(height, width)
    box = (width - 9, height - 9, width, height)
    region = np.zeros(size, dtype=bool)
    region[-9:, -9:] = True
    for drawn in (draw_arrow(image, box, 3), draw_circle(image, box), draw_contour(image, region)):
        assert drawn.shape == image.shape
        assert ((drawn == (255, 221, 0)).all(axis=2)).sum() >= 8
    assert (image == 128).all()


@pytest.mark.parametrize("draw", [draw_arrow, draw_box, draw_circle])
def test_a_mark_on_the_whole_image_is_still_seen(draw: Callable[..., Pixels]) -> None:
    drawn = draw(blank_like(112, 112), (0, 0, 112, 112))
    assert ((drawn == (255, 221, 0)).all(axis=2)).sum() >= 15


def test_text_is_inside_and_wraps_and_then_gives_up() -> None:
    for corner in CORNERS:
        drawn, (x0, y0, x1, y1) = draw_text(blank_like(112, 112), "NOTE: BENIGN BREAST LESION", corner)
        assert 0 <= x0 < x1 <= 112
        assert 0 <= y0 < y1 <= 112
        assert (y1 - y0) > 20  # two lines
        assert (x0 < 10) == corner.endswith("left") or x1 > 102
        changed = np.argwhere((drawn != 128).any(axis=2))
        assert changed.min(axis=0).tolist() == [y0, x0]
        assert changed.max(axis=0).tolist() == [y1 - 1, x1 - 1]
    with pytest.raises(ValueError, match="no room"):
        draw_text(blank_like(28, 28), "HEPATOCELLULAR", "upper left")


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
