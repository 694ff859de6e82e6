"""Where a region finds room: never on what it must avoid, never outside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from toy_conditions import flat, make_context, make_item

from medproof.conditions.regions import (
    asked_about,
    drawn_shift,
    filled_box,
    free_shifts,
    largest_part,
    moved_elsewhere,
    place_of,
    shifted,
    tight_box,
    within_place,
)
from medproof.records import Box, Evidence

masks = arrays(np.bool_, (9, 13))


@given(masks, masks, st.booleans())
def test_free_shifts_are_all_and_only_those_that_touch_nothing(part, avoid, wrap):
    part[4, 6] = True
    free = free_shifts(part, avoid, wrap=wrap)
    x0, y0, x1, y1 = tight_box(part)
    for down in range(9):
        for right in range(13):
            clear = not (shifted(part, (down, right)) & avoid).any()
            inside = (
                y1 + down <= 9 or (y0 + down - 9 >= 0 and y0 + down >= 9),
                x1 + right <= 13 or x0 + right >= 13,
            )
            assert free[down, right] == (clear and (wrap or all(inside)))


@given(masks, st.integers(0, 50), st.booleans())
def test_what_is_moved_keeps_its_shape_and_avoids_the_evidence(part, seed, wrap):
    part[2, 3] = True
    image = flat(90, 90, 90, 9, 13)
    moved = moved_elsewhere(part, part, image, np.random.default_rng(seed), wrap=wrap)
    if moved is None:
        assert not free_shifts(part, part, wrap=wrap).any()
        return
    assert moved.sum() == part.sum()
    assert not (moved & part).any()


def test_tissue_is_preferred_to_background():
    image = flat(0, 0, 0, 20, 20)
    image[:, 12:] = 100
    part = filled_box((0, 0, 4, 4), image.shape)
    for seed in range(30):
        down, right = drawn_shift(part, free_shifts(part, part), image, np.random.default_rng(seed))
        assert 10 <= right <= 16
        assert 0 <= down <= 16


@pytest.mark.parametrize(
    ("option", "place"),
    [
        ("upper left", ("upper", "left")),
        ("Lower right of the image", ("lower", "right")),
        ("left", ("", "left")),
        ("the top", ("upper", "")),
        ("upper part", ("upper", "")),
        ("right half", ("", "right")),
        ("left lung", None),
        ("left eye", None),
        ("pneumonia", None),
        ("", None),
        ("upper lobe", None),
    ],
)
def test_options_that_are_places(option, place):
    assert place_of(option) == place


def test_within_a_place_lies_the_centre():
    part = filled_box((0, 0, 10, 10), (100, 200))
    inside = within_place(part, ("lower", "left"))
    assert inside[80, 20]
    assert not inside[20, 20]
    assert not inside[80, 150]
    assert not inside[47, 20]  # too near the middle


def test_the_largest_part_counts_diagonal_neighbours():
    mask = np.eye(8, dtype=bool)
    mask[0, 5:8] = True
    assert np.array_equal(largest_part(mask), np.eye(8, dtype=bool))


def test_boxes_the_question_names_are_what_is_asked_about():
    boxes = (Box(label="platelet", xyxy=(0, 0, 4, 4)), Box(label="white blood cell", xyxy=(10, 10, 20, 20)))
    one = make_item("a", question="Where is the white blood cell?", evidence=Evidence(boxes=boxes), width=28, height=28)
    every = make_item("b", evidence=Evidence(boxes=boxes), width=28, height=28)
    context = make_context([one, every], {item.image: flat(9, 9, 9) for item in (one, every)})
    assert tight_box(asked_about(one, context)) == (10, 10, 20, 20)
    assert asked_about(every, context).sum() == 116
    assert asked_about(make_item("c", image=one.image), context) is None
