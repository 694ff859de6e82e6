"""Evidence on the model's grid, and attacks that spare it or touch nothing else."""

import numpy as np
import pytest
from PIL import Image
from planted_model import LooksAt
from toy_conditions import flat, make_context, make_item

from medproof.conditions import perturb, prepare, resolve
from medproof.conditions.evidence import evidence_mask
from medproof.datasets import Dataset
from medproof.records import Box, Evidence

CORNER = Evidence(boxes=(Box(label="nodule", xyxy=(0, 0, 14, 14)),))


def boxed(name, *boxes, width=28, height=28):
    evidence = Evidence(boxes=tuple(Box(label="x", xyxy=box) for box in boxes))
    return make_item(name, evidence=evidence, width=width, height=height)


def mask_of(item, shape=(28, 28), root=None):
    context = make_context([item], {item.image: flat(1, 2, 3, *shape)})
    if root is not None:
        context = make_context([item], {item.image: flat(1, 2, 3, *shape)})
        object.__setattr__(context, "dataset", Dataset("toy", root, (item,)))
    return evidence_mask(item, context)


def test_boxes_are_edges_of_pixels():
    mask = mask_of(boxed("a", (2, 3, 5, 4), (27, 27, 28, 28)))
    assert mask.sum() == 4
    assert mask[3, 2:5].all()
    assert mask[27, 27]


def test_boxes_move_with_the_image():
    mask = mask_of(boxed("a", (10, 20, 30, 60), width=100, height=100), (50, 200))
    expected = np.zeros((50, 200), dtype=bool)
    expected[10:30, 20:60] = True
    np.testing.assert_array_equal(mask, expected)


def test_shrunk_evidence_marks_every_pixel_it_touches():
    mask = mask_of(boxed("a", (33, 33, 34, 34), width=280, height=280))
    assert mask.sum() == 1
    assert mask[3, 3]


def test_a_mask_file_is_finer_than_its_boxes(tmp_path):
    stored = np.zeros((56, 56), dtype=np.uint8)
    stored[10:12, 20:24], stored[40, 40] = 1, 3
    Image.fromarray(stored).save(tmp_path / "mask.png")
    item = make_item("a", evidence=Evidence(boxes=CORNER.boxes, mask="mask.png"))
    mask = mask_of(item, root=tmp_path)
    assert sorted(zip(*mask.nonzero())) == [(5, 10), (5, 11), (20, 20)]


def test_no_evidence_no_mask(tmp_path):
    Image.fromarray(np.zeros((28, 28), dtype=np.uint8)).save(tmp_path / "empty.png")
    assert mask_of(make_item("a")) is None
    assert mask_of(make_item("b", evidence=Evidence())) is None
    assert mask_of(make_item("c", evidence=Evidence(mask="empty.png")), root=tmp_path) is None


@pytest.mark.parametrize("norm", ["linf,8/255", "l2,2"])
@pytest.mark.parametrize("name", ["background", "evidence"])
def test_only_what_is_allowed_changes_and_only_that_can_fool(name, norm):
    items = [make_item(f"i{n}", evidence=CORNER, width=28, height=28) for n in range(2)] + [make_item("without")]
    pixels = {item.image: flat(140, 130, 130) for item in items}
    looks = {"evidence": LooksAt(slice(0, 14), slice(0, 14)), "background": LooksAt(slice(14, 28), slice(0, 28))}
    condition = resolve(f"{name}({norm},10)")
    for region, model in looks.items():
        context = make_context(items, dict(pixels), model=model)
        views = prepare(condition, items, context)
        assert views[2] is None
        for view in perturb(condition, views[:2], context):
            changed = (view.image != flat(140, 130, 130)).any(axis=2)
            assert not changed[:14, :14].any() if name == "background" else not changed[14:].any()
            assert view.info["success"] == float(region == name)
            assert view.info["allowed_share"] == (0.25 if name == "evidence" else 0.75)
