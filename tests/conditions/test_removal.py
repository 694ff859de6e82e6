"""What is masked is exactly filled, everything else untouched; the control has the same area and no evidence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_conditions import make_context, make_item

from medproof.conditions import prepare, resolve
from medproof.conditions.removal import ring_around
from medproof.records import Box, Evidence


def boxed(*boxes, size=60):
    evidence = Evidence(boxes=tuple(Box(label="x", xyxy=box) for box in boxes))
    return make_item("a", evidence=evidence, width=size, height=size)


def noisy(size=60):
    return np.random.default_rng(0).integers(0, 120, (size, size, 3), dtype=np.uint8)  # never grey


def shown(text, item, image):
    context = make_context([item], {item.image: image.copy()})
    return prepare(resolve(text), [item], context)[0]


corner = st.integers(0, 27)
sizes = st.integers(1, 30)


@given(corner, corner, sizes, sizes)
def test_masked_pixels_are_exactly_grey_and_the_others_untouched(x, y, w, h):
    item, image = boxed((x, y, x + w, y + h)), noisy()
    region = np.zeros((60, 60), dtype=bool)
    region[y : y + h, x : x + w] = True
    view = shown("masked(region)", item, image)
    other = shown("masked(elsewhere)", item, image)
    if view is None:
        assert other is None
        return
    assert (view.image[region] == 128).all()
    assert np.array_equal(view.image[~region], image[~region])
    elsewhere = (other.image == 128).all(axis=2)
    assert elsewhere.sum() == region.sum()
    assert not (elsewhere & region).any()
    assert np.array_equal(other.image[~elsewhere], image[~elsewhere])
    assert view.info == other.info == {"masked_share": pytest.approx(w * h / 3600)}


def test_region_only_is_the_complement():
    item, image = boxed((10, 20, 30, 25), (40, 40, 45, 50)), noisy()
    masked, only = shown("masked(region)", item, image), shown("region_only(region)", item, image)
    gone = (masked.image == 128).all(axis=2)
    assert gone.sum() == 150
    assert np.array_equal((only.image == 128).all(axis=2), ~gone)
    assert np.array_equal(only.image[gone], image[gone])
    control = (shown("region_only(elsewhere)", item, image).image != 128).any(axis=2)
    assert control.sum() == 150
    assert not (control & gone).any()


def test_the_local_mean_is_that_of_the_ring_around():
    item = boxed((20, 20, 40, 40))
    image = np.full((60, 60, 3), 10, dtype=np.uint8)
    image[16:44, 16:44] = (50, 60, 71)
    image[16:44, 16:30] = (50, 60, 70)
    image[20:40, 20:40] = 255
    view = shown("masked(region,mean)", item, image)
    assert (view.image[20:40, 20:40] == (50, 60, 70)).all(axis=2).all() or (
        view.image[20:40, 20:40] == (50, 60, 71)
    ).all()
    ring = ring_around(np.pad(np.ones((2, 2), dtype=bool), 9))
    assert ring.sum() == 10 * 10 - 4


def test_evidence_that_leaves_no_room_and_no_evidence_are_skipped_in_all_arms():
    image = noisy()
    for item in (boxed((0, 0, 60, 31)), make_item("b")):
        for text in ("masked(region)", "masked(elsewhere)", "region_only(region)", "region_only(elsewhere)"):
            assert shown(text, item, image) is None


def test_evidence_in_pieces_may_be_cut_by_the_border_to_find_room():
    item, image = boxed((0, 0, 60, 20), (0, 55, 60, 60)), noisy()
    control = shown("masked(elsewhere)", item, image)
    elsewhere = (control.image == 128).all(axis=2)
    assert elsewhere.sum() == 60 * 25
    assert not elsewhere[:20].any()
    assert not elsewhere[55:].any()


def test_expected_behaviour_and_controls():
    told = {text: (resolve(text).expected, resolve(text).twin) for text in ("masked(region)", "masked(region,mean)")}
    assert told == {
        "masked(region)": ("any", "masked(elsewhere,grey)"),
        "masked(region,mean)": ("any", "masked(elsewhere,mean)"),
    }
    assert resolve("masked(elsewhere)").expected == resolve("region_only(region)").expected == "keep"
    assert resolve("region_only(region)").twin == "region_only(elsewhere)"
