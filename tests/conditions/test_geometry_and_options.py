"""Mirroring knows the sides of an answer; rotations show every option at every place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_conditions import make_context, make_item

from medproof.conditions import prepare, resolve
from medproof.conditions.geometry import effect, mirrored_gold, other_side
from medproof.records import LETTERS
from medproof.scoring.asked import asked

PLACES = ("upper left", "lower right", "upper right")


def views_of(text, items):
    context = make_context(items)
    return prepare(resolve(text), items, context), context


@given(st.lists(st.sampled_from(["left", "Right", "LEFT", "lung", "lefty", "of the"]), max_size=6).map(" ".join))
def test_changing_sides_twice_changes_nothing(text):
    assert other_side(other_side(text)) == text


def test_sides_are_words():
    assert other_side("Left upper lobe, right-sided; leftover") == "Right upper lobe, left-sided; leftover"


@pytest.mark.parametrize(
    ("changes", "known", "gold"),
    [
        ({"options": PLACES, "answer": "upper left"}, "flip", "upper right"),
        ({"options": PLACES, "answer": "lower right"}, "flip", None),  # lower left is no option
        ({"options": ("upper part", "lower part"), "answer": "lower part"}, "keep", "lower part"),
        ({"question_type": "Modality Recognition", "options": ("CT", "MRI"), "answer": "CT"}, "keep", "CT"),
        ({}, None, None),
        ({"facts": {"mirror": "keep"}}, "keep", "lung cancer"),
        ({"options": ("left lung", "right lung"), "answer": "left lung"}, None, None),
        (
            {"options": ("left lung", "right lung"), "answer": "left lung", "facts": {"mirror": "flip"}},
            "flip",
            "right lung",
        ),
        ({"options": PLACES, "answer": "upper left", "question": "Where is the left one?"}, None, None),
    ],
)
def test_what_mirroring_does_to_an_answer(changes, known, gold):
    item = make_item("a", **changes)
    assert effect(item) == known
    found = mirrored_gold(item)
    assert (None if found is None else item.options[found]) == gold
    for answer in ("keep", "flip"):
        (view,), context = views_of(f"mirrored({answer})", [item])
        if gold is None or answer != known:
            assert view is None
            continue
        assert np.array_equal(view.image, context.load(item)[:, ::-1])
        assert view.item.answer == asked(item, view.info).answer == gold
        assert view.item.options == item.options
    assert resolve("mirrored(flip)").expected == "flip"
    assert resolve("mirrored(keep)").expected == "keep"


def test_all_rotations_show_every_option_at_every_place():
    item = make_item("a")
    shown = [item.options]
    for by in (1, 2):
        (view,), context = views_of(f"rotated({by})", [item])
        assert view.item.answer == item.answer
        assert view.item.options == asked(item, view.info).options
        assert np.array_equal(view.image, context.load(item))
        for place, option in enumerate(view.item.options):
            assert f"{LETTERS[place]}) {option}" in view.messages[0].text
        shown.append(view.item.options)
    assert all(len({options[place] for options in shown}) == 3 for place in range(3))
    assert views_of("rotated(3)", [item])[0] == [None]
