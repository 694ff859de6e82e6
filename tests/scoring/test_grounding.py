"""Boxes: how they are read, how far they agree, and the grounding block counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import make_item, make_run
from planted_bench import box_item, said

from medproof.records import Item
from medproof.scoring.boxes import XYXY, as_box, best_matching, boxes_in, in_pixels, iou, mirrored, points_at
from medproof.scoring.grounding import grounding, is_box_item
from medproof.scoring.intervals import wilson
from medproof.scoring.scored import score

EDGES = st.tuples(*[st.integers(0, 1000)] * 4)
BOXES = EDGES.map(lambda e: (min(e[0], e[2]), min(e[1], e[3]), max(e[0], e[2]) + 1, max(e[1], e[3]) + 1))
# In thousandths of 200 x 100 pixels: the left half, the right half, the upper left quarter, a strip.
LEFT, RIGHT, QUARTER, STRIP = "[0, 0, 500, 1000]", "[500, 0, 1000, 1000]", "[0, 0, 500, 500]", "[0, 900, 100, 1000]"


def test_boxes_are_read_from_text() -> None:
    assert boxes_in("It lies at [100, 20.5,300,400], or (1, 2), (3, 4).") == ((100, 20.5, 300, 400), (1, 2, 3, 4))
    assert boxes_in("<|box_start|>(10,20),(30,40)<|box_end|> twice [10, 20, 30, 40]") == ((10, 20, 30, 40),)
    assert boxes_in("[300, 20, 100, 400] [0, 0, 1001, 9] [1, 2, 3] 4 of 5") == ()
    assert as_box(" [1, 2, 3, 4] ") == (1, 2, 3, 4)
    assert as_box("near [1, 2, 3, 4]") is None


def test_iou_by_hand() -> None:
    assert iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert iou((0, 0, 2, 2), (2, 0, 4, 2)) == 0
    assert in_pixels((0, 500, 1000, 1000), 200, 100) == (0, 50, 200, 100)


@given(a=BOXES, b=BOXES)
def test_iou_is_symmetric_and_knows_no_side(a: XYXY, b: XYXY) -> None:
    assert iou(a, a) == pytest.approx(1)
    assert iou(a, b) == pytest.approx(iou(b, a))
    both = iou(mirrored(a, 1001), mirrored(b, 1001))
    assert both == pytest.approx(iou(a, b))


def test_matching_is_one_to_one() -> None:
    one, other = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0)
    assert best_matching([one, one], [one, other]) == 1
    assert best_matching([other, one], [one, other]) == 2
    assert best_matching([one], [one, other], at=0.5) == 1
    assert best_matching([], [one]) == 0
    # The largest overlap first would leave the second box without a partner.
    wide, left = (0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 6.0, 10.0)
    assert best_matching([wide, left], [wide, (0.0, 0.0, 5.0, 10.0)], at=0.5) == 2


def test_pointing_tolerance_is_a_distance() -> None:
    assert points_at((0, 0, 4, 4), (3, 0, 9, 9), 1.0)  # the centre (2, 2) is 1 away
    assert not points_at((0, 0, 4, 4), (3.1, 0, 9, 9), 1.0)
    assert not points_at((0, 0, 4, 4), (3, 3, 9, 9), 1.0)  # sqrt(2) away


@pytest.fixture
def items() -> list[Item]:
    """Three questions for a box of the left half, and in the first case a step that builds on it."""
    boxes = [box_item(n, "A", (LEFT, RIGHT, QUARTER, STRIP), [(0, 0, 100, 100)]) for n in range(3)]
    shape = make_item(9, id="c0/shape", case="c0", stage="S3", parents=("c0/lesion_box",))
    end = make_item(9, id="c1/end", case="c1", stage="S4", parents=("c1/shape",))
    middle = make_item(9, id="c1/shape", case="c1", stage="S3", parents=("c1/lesion_box",))
    return [*boxes, shape, middle, end]


def test_grounding_by_hand(items: list[Item]) -> None:
    # The left half (1), the right half (0), the quarter (1/2); then steps: right, wrong, right.
    block = grounding(score(make_run({"clean": "ABC" + "ABA"}, items)))
    assert block is not None
    assert block["n_items"] == 3
    clean = block["conditions"]["clean"]
    assert clean["iou"]["value"] == pytest.approx(1.5 / 3)
    assert [clean["acc"][level]["value"] for level in ("0.25", "0.5", "0.75")] == pytest.approx([2 / 3, 2 / 3, 1 / 3])
    assert clean["f1"]["value"] == pytest.approx(2 * 2 / (3 + 3))
    assert clean["pointing"] == {"value": 2 / 3, "ci95": list(wilson(2, 3)), "n": 3}
    assert clean["laterality"]["value"] == 1 / 3
    # Steps: c0/shape right on IoU 1, c1/shape wrong and c1/end right on IoU 0.
    assert clean["answered_and_grounded"] == {"value": 1 / 3, "ci95": list(wilson(1, 3)), "n": 3}
    assert clean["ungrounded_correct"] == {"value": 1 / 2, "ci95": list(wilson(1, 2)), "n": 2}
    assert block["by_size"]["large"]["iou"]["n"] == 3


def test_baselines_see_no_image(items: list[Item]) -> None:
    block = grounding(score(make_run({"clean": "      "}, items)))
    assert block is not None
    # An option at random: 1, 0, 1/2, and the strip 10 x 20 x ... of the half: 20 * 10 / (100 * 100).
    assert block["baselines"]["random_option"]["iou"]["value"] == pytest.approx((1 + 0 + 0.5 + 0.02) / 4)
    assert block["baselines"]["random_option"]["acc"]["value"] == pytest.approx(2 / 4)
    # A centred box of that size, 50 to 150: a third of the union.
    assert block["baselines"]["centre_box"]["iou"]["value"] == pytest.approx(1 / 3)
    assert 0 < block["baselines"]["random_box"]["iou"]["value"] < 1


def test_no_box_is_no_overlap_and_a_box_of_its_own_counts(items: list[Item]) -> None:
    run = make_run({"clean": "-?!" + "   "}, items)
    run = said(run, "c0/lesion_box", "clean", "I would draw (0, 0), (250, 1000).")
    block = grounding(score(run))
    assert block is not None
    clean = block["conditions"]["clean"]
    assert clean["iou"] == {"value": 0.25, "ci95": [0.0, 0.5], "n": 2}  # one half, one nothing, one left out
    assert clean["free"] == 1
    assert clean["laterality"]["n"] == 1


def test_several_lesions_are_matched_one_to_one() -> None:
    item = box_item(0, "A", (LEFT, RIGHT), [(0, 0, 100, 100), (100, 0, 200, 100)])
    block = grounding(score(make_run({"clean": "A"}, [item])))
    assert block is not None
    assert block["conditions"]["clean"]["iou"]["value"] == 0.5
    assert block["conditions"]["clean"]["f1"]["value"] == pytest.approx(2 * 1 / (1 + 2))


def test_only_questions_for_a_box_take_part() -> None:
    assert not is_box_item(make_item(0))
    assert not is_box_item(box_item(0, "A", (LEFT, RIGHT), [(0, 0, 1, 1)], width=None))
    assert grounding(score(make_run({"clean": "ABCDABCD"}))) is None
