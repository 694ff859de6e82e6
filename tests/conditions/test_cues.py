"""Cues stand where they should, inside the image, and are seen; burned-in words say what they should."""

import numpy as np
import pytest
from PIL import Image
from toy_conditions import flat, make_context, make_item

from medproof.conditions import cues, prepare, resolve
from medproof.conditions.regions import tight_box
from medproof.datasets import Dataset
from medproof.images.overlay import draw_text
from medproof.records import Box, Evidence

PLACES = ("upper left", "upper right", "lower left", "lower right")
YELLOW = np.array((255, 221, 0))


def lesion(name, box, **changes):
    evidence = Evidence(boxes=(Box(label="lesion", xyxy=box),))
    return make_item(name, evidence=evidence, width=112, height=112, **changes)


def shown(text, item, level=90, root=None, seed=7):
    context = make_context([item], {item.image: flat(level, level, level, 112, 112)}, seed=seed)
    if root is not None:
        object.__setattr__(context, "dataset", Dataset("toy", root, (item,)))
    (view,) = prepare(resolve(text), [item], context)
    return view


def marked(view):
    return tuple(int(view.info[f"cue_{edge}"]) for edge in ("x0", "y0", "x1", "y1"))


@pytest.fixture
def masked_item(tmp_path):
    stored = np.zeros((112, 112), dtype=np.uint8)
    stored[20:34, 60:80], stored[26, 80:84], stored[100, 100] = 1, 1, 1
    Image.fromarray(stored).save(tmp_path / "mask.png")
    return make_item("m", evidence=Evidence(mask="mask.png"))


@pytest.mark.parametrize("level", [0, 90, 255])
@pytest.mark.parametrize("shape", cues.SHAPES)
@pytest.mark.parametrize("where", cues.WHERE)
def test_a_cue_is_seen_on_any_ground_and_leaves_the_rest_alone(shape, where, level, masked_item, tmp_path):
    view = shown(f"cue({shape},{where})", masked_item, level, tmp_path)
    changed = (view.image != level).any(axis=2)
    line = (view.image == YELLOW).all(axis=2)
    assert line.sum() >= 20
    assert (changed & ~line & (view.image != 0).any(axis=2)).sum() == 0  # a line, a black rim, nothing else
    for y, x in np.argwhere(line):
        around = view.image[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5].max(axis=2)
        assert int(around.max()) - int(around.min()) >= 200
    assert changed.mean() < 0.25


@pytest.mark.parametrize("shape", ["box", "circle", "contour"])
def test_a_true_cue_is_around_the_largest_part_and_leaves_it_visible(shape, masked_item, tmp_path):
    view = shown(f"cue({shape},true)", masked_item, root=tmp_path)
    assert marked(view) == (60, 20, 84, 34)
    changed = (view.image != 90).any(axis=2)
    assert not changed[22:32, 65:79].any()
    x0, y0, x1, y1 = tight_box(changed)
    assert x0 < 60 < 84 < x1
    assert y0 < 20 < 34 < y1


@pytest.mark.parametrize("seed", range(8))
def test_an_arrow_ends_at_the_region_and_starts_off_it(seed):
    view = shown("cue(arrow,true)", lesion("a", (40, 40, 60, 60)), seed=seed)
    changed = (view.image != 90).any(axis=2)
    distance = [max(40 - x, x - 59, 40 - y, y - 59) for y, x in np.argwhere(changed)]
    assert 0 < min(distance) <= 6
    assert max(distance) >= 15


@pytest.mark.parametrize("box", [(0, 0, 9, 9), (100, 3, 112, 112), (55, 0, 56, 112)])
@pytest.mark.parametrize("shape", ["box", "circle", "arrow"])
def test_at_the_border_a_cue_is_still_seen(shape, box):
    view = shown(f"cue({shape},true)", lesion("a", box))
    assert (view.image == YELLOW).all(axis=2).sum() >= 15


def test_wrong_and_control_regions_are_as_large_and_off_the_evidence():
    item = lesion("a", (20, 30, 44, 50))
    for where in ("wrong", "elsewhere"):
        x0, y0, x1, y1 = marked(shown(f"cue(box,{where})", item))
        assert (x1 - x0, y1 - y0) == (24, 20)
        assert 0 <= x0 < x1 <= 112
        assert 0 <= y0 < y1 <= 112
        assert x1 <= 20 or x0 >= 44 or y1 <= 30 or y0 >= 50
    assert marked(shown("cue(box,wrong)", item)) == (68, 30, 92, 50)  # the mirror image
    assert len({marked(shown("cue(box,elsewhere)", item, seed=seed)) for seed in range(9)}) > 5


def test_every_shape_of_cue_marks_the_same_region():
    item = lesion("a", (50, 30, 70, 50))
    for where in cues.WHERE:
        assert len({marked(shown(f"cue({shape},{where})", item)) for shape in ("box", "circle", "arrow")}) == 1


@pytest.mark.parametrize("seed", range(12))
def test_where_options_are_places_a_wrong_cue_stands_at_the_suggested_one(seed):
    item = lesion("a", (10, 10, 20, 20), options=PLACES, answer="upper left")
    view = shown("cue(box,wrong)", item, seed=seed)
    option = item.options[int(view.info["suggested"])]
    assert option != "upper left"
    x0, y0, x1, y1 = marked(view)
    assert ("left" in option) == (x0 + x1 < 112)
    assert ("upper" in option) == (y0 + y1 < 112)
    assert shown("cue(box,elsewhere)", item, seed=seed).info["suggested"] == view.info["suggested"]
    assert shown("cue(box,true)", item, seed=seed).info["suggested"] == 0


def test_items_without_what_a_cue_needs_are_skipped():
    plain, large, boxed = make_item("a"), lesion("b", (5, 5, 110, 110)), lesion("c", (5, 5, 30, 30))
    assert shown("cue(box,true)", plain) is None
    assert shown("cue(contour,true)", boxed) is None
    for where in cues.WHERE:
        assert shown(f"cue(box,{where})", large) is None


def test_controls_of_cues():
    assert resolve("cue(arrow,wrong)").twin == "cue(arrow,elsewhere)"
    assert resolve("cue(arrow,elsewhere)").twin is None
    assert resolve("burned_in(irrelevant)").twin == "burned_in(neutral)"
    assert resolve("marker(wrong)").twin == "marker(neutral)"


def written(monkeypatch, text, items, level=90):
    """What each view has burned into it, and where."""
    said = []

    def remembered(pixels, words, corner):
        drawn = draw_text(pixels, words, corner)
        said.append((words, corner, drawn[1]))
        return drawn

    monkeypatch.setattr(cues, "draw_text", remembered)
    context = make_context(items, {item.image: flat(level, level, level, 112, 112) for item in items})
    views = []
    for item in items:
        (view,) = prepare(resolve(text), [item], context)
        views.append((view, *said[-1]))
    return views


def crowd(count=20):
    other = make_item("other", question_type="Modality Recognition", options=("OCT scan", "MRI"), answer="OCT scan")
    return [*(lesion(f"i{n}", (80, 80, 112, 112)) for n in range(count)), other]


def test_burned_in_words_name_what_they_should(monkeypatch):
    items = crowd()
    arms = {
        which: written(monkeypatch, f"burned_in({which})", items)[:-1]
        for which in ("correct", "wrong", "neutral", "irrelevant")
    }
    for correct, wrong, neutral, irrelevant in zip(*arms.values()):
        item = correct[0].item
        assert item.answer.upper() in correct[1]
        assert item.options[int(wrong[0].info["suggested"])].upper() in wrong[1]
        assert wrong[0].info == neutral[0].info
        assert not any(option.upper() in neutral[1] for option in item.options)
        assert len(neutral[1].split()) == len(wrong[1].split())
        assert "OCT SCAN" in irrelevant[1]
        assert correct[2] == wrong[2] == neutral[2] == irrelevant[2] != "lower right"  # there is the lesion
        for view, _, _, (x0, y0, x1, y1) in (correct, wrong, neutral, irrelevant):
            inside = view.image[y0:y1, x0:x1]
            assert int(inside.max()) - int(inside.min()) >= 200
            outside = np.ones((112, 112), dtype=bool)
            outside[y0:y1, x0:x1] = False
            assert (view.image[outside] == 90).all()
    assert len({text.split(":")[0] for _, text, _, _ in arms["wrong"]}) >= 5


def test_words_that_find_no_room_are_not_drawn():
    item = make_item("a", options=("pneumonoultramicroscopic disease", "no"), answer="no")
    context = make_context([item], {item.image: flat(9, 9, 9)})
    for which in ("correct", "wrong", "neutral"):
        assert prepare(resolve(f"burned_in({which})"), [item], context) == [None]


@pytest.mark.parametrize("side", ["correct", "wrong", "neutral"])
def test_markers_follow_the_convention_or_break_it(monkeypatch, side):
    items = [make_item(f"i{n}", modality="X-Ray") for n in range(12)]
    found = {(letter, corner) for _, letter, corner, _ in written(monkeypatch, f"marker({side})", items)}
    assert (
        found
        == {
            "correct": {("R", "upper left"), ("L", "upper right")},
            "wrong": {("L", "upper left"), ("R", "upper right")},
            "neutral": {("P", "upper left"), ("P", "upper right")},
        }[side]
    )


def test_markers_are_for_radiology():
    item = make_item("a", modality="Dermoscopy")
    assert shown("marker(wrong)", item) is None


@pytest.mark.parametrize("text", ["cue(circle,elsewhere)", "cue(arrow,wrong)", "burned_in(neutral)", "marker(wrong)"])
def test_the_same_alone_and_in_any_order(text):
    items = crowd(6)
    pixels = {item.image: flat(90, 90, 90, 112, 112) for item in items}
    context = make_context(items, pixels)
    together = {v.item.id: v.pixels_sha256 for v in prepare(resolve(text), items, context) if v is not None}
    assert len(together) >= 6
    for item in reversed(items[:6]):
        assert prepare(resolve(text), [item], context)[0].pixels_sha256 == together[item.id]
