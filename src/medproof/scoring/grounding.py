"""Where the model says it is (METRICS, "Grounding"): items whose options are boxes, against the annotated ones.

Coordinates are pixels of the stored image. A reply that chooses no option but states boxes counts with those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medproof.records import Item, Outcome, Response
from medproof.scoring.boxes import XYXY, as_box, best_matching, boxes_in, in_pixels, iou, mirrored, points_at
from medproof.scoring.intervals import Floats
from medproof.scoring.numbers import Json, bootstrapped, share
from medproof.scoring.scored import CLEAN, Scored, counted, is_correct
from medproof.seeds import rng

LEVELS = (0.25, 0.5, 0.75)
TOLERANCE = 0.01
"""Of the diagonal, in the pointing game."""
GROUNDED, UNGROUNDED = 0.5, 0.1
SIZES = {"small": 0.02, "medium": 0.1, "large": 1.0}
"""Largest share of the image that the annotated boxes of each size take."""
DRAWS = 64
"""Random boxes per item."""


@dataclass(frozen=True)
class Located:
    """One item: the annotated boxes and those that the model chose or stated, none where the reply says no place."""

    item: Item
    gold: tuple[XYXY, ...]
    said: tuple[XYXY, ...]
    free: bool = False

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the stored image."""
        return float(self.item.width or 1), float(self.item.height or 1)

    @property
    def iou(self) -> float:
        """Of the two boxes; of several, the best one-to-one matching over the larger number. 0 where none is said."""
        return best_matching(self.said, self.gold) / max(len(self.said), len(self.gold))

    @property
    def pointed(self) -> bool:
        """Whether the centre of every box said lies on an annotated one, give or take 1 % of the diagonal."""
        reach = TOLERANCE * float(np.hypot(*self.size))
        return bool(self.said) and all(any(points_at(s, g, reach) for g in self.gold) for s in self.said)

    @property
    def other_side(self) -> bool:
        """Whether the boxes said would fit better mirrored."""
        width = self.size[0]
        best = best_matching(self.said, self.gold)
        return best_matching([mirrored(box, width) for box in self.said], self.gold) > best

    @property
    def size_class(self) -> str:
        width, height = self.size
        part = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in self.gold) / (width * height)
        return next((name for name, most in SIZES.items() if part <= most), "large")


def is_box_item(item: Item) -> bool:
    """Whether every option is a box, and the annotated boxes and their frame are known."""
    framed = item.evidence is not None and bool(item.evidence.boxes) and bool(item.width and item.height)
    return framed and all(as_box(option) is not None for option in item.options)


def locate(item: Item, outcome: Outcome, response: Response) -> Located:
    """Read one reply to a box item."""
    width, height = float(item.width or 1), float(item.height or 1)
    boxes = item.evidence.boxes if item.evidence else ()
    free = outcome.chosen is None
    said = boxes_in(response.text if outcome.chosen is None else outcome.chosen)
    said = tuple(in_pixels(box, width, height) for box in said)
    return Located(item, tuple(box.xyxy for box in boxes), said, free and bool(said))


def grounding(scored: Scored, seed: int = 0) -> Json | None:
    """The grounding block; null where no item asks for a box.

    - `conditions`: by condition `_scores`, those where another box becomes right left out; `by_size` of clean;
    - `baselines`: what needs no image: `random_option` (expected over the options), `random_box` (at 64 seeded places)
      and `centre_box`, both of the mean annotated size.
    """
    items = {item_id: item for item_id, item in scored.items.items() if is_box_item(item)}
    if not items:
        return None
    located = {key: found for key in scored.conditions if (found := _located(scored, items, key))}
    return {
        "n_items": len(items),
        "conditions": {
            key: {**_scores(list(f.values()), seed), **_steps(scored, key, f)} for key, f in located.items()
        },
        "baselines": _baselines(list(items.values()), seed),
        "by_size": {
            name: _scores([one for one in located.get(CLEAN, {}).values() if one.size_class == name], seed)
            for name in SIZES
        },
    }


def _located(scored: Scored, items: Mapping[str, Item], key: str) -> dict[str, Located]:
    found = {}
    for item_id, outcome in counted(scored.outcomes[key]).items():
        response = scored.responses[key][item_id]
        if item_id in items and "gold" not in response.info:
            found[item_id] = locate(items[item_id], outcome, response)
    return found


def _scores(found: Sequence[Located], seed: int) -> Json:
    """`iou` (mean, nothing said = 0), `acc` at IoU .25, .5, .75, `f1` at .5 one to one, `pointing`, `laterality` (of
    the replies that say a place, those that fit better mirrored), `free`: replies with a box of their own."""
    overlaps = [one.iou for one in found]
    hits = [best_matching(one.said, one.gold, GROUNDED) for one in found]
    sizes = [float(len(one.said) + len(one.gold)) for one in found]

    def f1(means: Floats) -> Floats:
        return np.asarray(2 * means[..., 1] / means[..., 2])

    statistics: dict[str, Callable[[Floats], Floats]] = {"iou": lambda means: means[..., 0], "f1": f1}
    return {
        **bootstrapped([overlaps, hits, sizes], statistics, [one.item.cluster for one in found], seed),
        "acc": {str(level): share(overlap >= level for overlap in overlaps) for level in LEVELS},
        "pointing": share(one.pointed for one in found),
        "laterality": share(one.other_side for one in found if one.said),
        "free": sum(one.free for one in found),
    }


def _steps(scored: Scored, key: str, located: Mapping[str, Located]) -> Json:
    """Of the steps that build on a box, directly or not: `answered_and_grounded` = P(correct and IoU >= .5),
    `ungrounded_correct` = P(IoU < .1 | correct)."""
    pairs = []
    for item_id, outcome in counted(scored.outcomes[key]).items():
        for box in _ancestors(item_id, scored.items) & located.keys():
            pairs.append((is_correct(outcome), located[box].iou))
    return {
        "answered_and_grounded": share(right and overlap >= GROUNDED for right, overlap in pairs),
        "ungrounded_correct": share(overlap < UNGROUNDED for right, overlap in pairs if right),
    }


def _ancestors(item_id: str, items: Mapping[str, Item]) -> set[str]:
    found: set[str] = set()
    open_ = [item_id]
    while open_:
        item = items.get(open_.pop())
        new = set(item.parents) - found if item else set()
        found |= new
        open_ += new
    return found


def _baselines(items: Sequence[Item], seed: int) -> Json:
    frames = [(float(item.width or 1), float(item.height or 1)) for item in items]
    gold = [tuple(box.xyxy for box in item.evidence.boxes) if item.evidence else () for item in items]
    extents = [
        ((x1 - x0) / width, (y1 - y0) / height) for (width, height), own in zip(frames, gold) for x0, y0, x1, y1 in own
    ]
    w, h = (float(value) for value in np.mean(extents, axis=0))
    rows: dict[str, list[list[float]]] = {"random_option": [], "random_box": [], "centre_box": []}
    for item, (width, height), own in zip(items, frames, gold):
        draws = rng(seed, item.id, "random box").random((DRAWS, 2)) * (1 - w, 1 - h)
        guesses = {
            "random_option": [in_pixels(box, width, height) for text in item.options if (box := as_box(text))],
            "random_box": [(x * width, y * height, (x + w) * width, (y + h) * height) for x, y in draws],
            "centre_box": [((1 - w) / 2 * width, (1 - h) / 2 * height, (1 + w) / 2 * width, (1 + h) / 2 * height)],
        }
        for name, boxes in guesses.items():
            rows[name].append([max(iou(box, one) for one in own) for box in boxes])
    clusters = [item.cluster for item in items]
    return {
        name: bootstrapped(
            [[float(np.mean(r)) for r in found], [float(np.mean(np.array(r) >= GROUNDED)) for r in found]],
            {"iou": lambda means: means[..., 0], "acc": lambda means: means[..., 1]},
            clusters,
            seed,
        )
        for name, found in rows.items()
    }
