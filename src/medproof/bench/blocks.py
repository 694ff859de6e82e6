"""Groups of K images that share one question text, each option being right for exactly one of them.

Whoever reads the text alone gives the same reply to all K and is right exactly once: blind accuracy is 1/K on every
block, whatever was learnt elsewhere, from option counts, wording, length or letter. So the balance is a property of
the construction; the gate (see `gate`) checks it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from medproof.bench.regions import iou
from medproof.datasets.balance import MAX_CHOICES, MIN_KEPT, choose_k
from medproof.datasets.vocabulary import family
from medproof.records import Box

Block = tuple[int, ...]
MAX_IOU = 0.25
"""Boxes that overlap more are never options of one question."""


def answer_blocks(answers: Sequence[str], k: int) -> list[Block]:
    """Blocks of `k` indices whose answers are of different families; as many as there can be.

    b blocks exist exactly where the families, each capped at b, hold k * b members; taking each time from the k
    families with most members left reaches them. Earlier indices are preferred. Fewer options where there are fewer
    families; empty below two.
    """
    sizes = Counter(family(answer) for answer in answers)
    k = min(k, len(sizes))
    if k < 2:
        return []
    number = max(b for b in range(len(answers) // k + 1) if k * b <= sum(min(size, b) for size in sizes.values()))
    left: defaultdict[str, list[int]] = defaultdict(list)
    for index, answer in enumerate(answers):
        if len(left[family(answer)]) < number:
            left[family(answer)].append(index)
    blocks = []
    for _ in range(number):
        chosen = sorted((name for name in left if left[name]), key=lambda name: (-len(left[name]), name))[:k]
        blocks.append(tuple(left[name].pop(0) for name in chosen))
    return blocks


def options_for(answers: Sequence[str]) -> int:
    """How many options a group of answers supports (`balance.choose_k`)."""
    return choose_k(Counter(answers))


def box_blocks(boxes: Sequence[Box], k: int) -> list[Block]:
    """Blocks of `k` indices whose boxes overlap by at most MAX_IOU, found greedily from the box with fewest partners.

    boxes: in shares of width and height, so that images of any size compare.
    """
    apart = [{j for j, b in enumerate(boxes) if j != i and iou(a, b) <= MAX_IOU} for i, a in enumerate(boxes)]
    free = set(range(len(boxes)))
    blocks = []
    for first in sorted(free, key=lambda i: (len(apart[i]), i)):
        if first not in free:
            continue
        block, open_ = [first], apart[first] & free
        while open_ and len(block) < k:
            following = min(open_, key=lambda i: (len(apart[i]), i))
            block.append(following)
            open_ &= apart[following]
        if len(block) == k:
            blocks.append(tuple(block))
            free -= set(block)
    return blocks


def options_for_boxes(boxes: Sequence[Box]) -> int:
    """The largest number of options that keeps MIN_KEPT of the boxes, else 2."""
    for k in range(MAX_CHOICES, 2, -1):
        if k * len(box_blocks(boxes, k)) >= MIN_KEPT * len(boxes):
            return k
    return 2
