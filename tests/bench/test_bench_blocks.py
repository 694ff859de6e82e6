"""Blocks: one text for K images, each option right once; as many as there can be."""

from collections import Counter
from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from medproof.bench.blocks import MAX_IOU, answer_blocks, box_blocks, options_for_boxes
from medproof.bench.regions import iou
from medproof.datasets.vocabulary import family
from medproof.records import Box


@given(st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=40), st.integers(2, 4))
def test_every_block_has_k_answers_and_no_item_is_used_twice(answers: list[str], k: int) -> None:
    found = answer_blocks(answers, k)
    used = [index for block in found for index in block]
    assert len(used) == len(set(used))
    k = min(k, len(set(answers)))
    assert all(len({answers[index] for index in block}) == len(block) == k for block in found)
    # the largest number of blocks b has k b <= sum of min(n, b); one more is impossible
    counts = Counter(answers).values()
    more = len(found) + 1
    assert k < 2 or k * more > sum(min(n, more) for n in counts)


def test_relatives_never_meet() -> None:
    answers = ["melanocytic nevus", "common melanocytic nevus", "melanoma"] * 4
    found = answer_blocks(answers, 3)
    assert len(found) == 4
    assert all(len({family(answers[index]) for index in block}) == 2 for block in found)


def test_boxes_of_a_block_lie_apart() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 0.7, (60, 2))
    boxes = [Box(label="x", xyxy=(x, y, x + 0.3, y + 0.3)) for x, y in corners]
    found = box_blocks(boxes, options_for_boxes(boxes))
    assert len(found) >= 10
    for block in found:
        assert all(iou(boxes[a], boxes[b]) <= MAX_IOU for a, b in combinations(block, 2))
    assert len({index for block in found for index in block}) == sum(map(len, found))
    assert box_blocks([boxes[0]] * 5, 2) == []
