"""Does the reply point at the evidence?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from medproof.records import Item
from medproof.training.rewards.columns import reply

BoxCoordinates = tuple[float, float, float, float]

SCALE = 1000
_OPEN = "<box>"
_BOX = re.compile(r"<box>\s*(\d{1,4})\s+(\d{1,4})\s+(\d{1,4})\s+(\d{1,4})\s*</box>")


def points(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    completion_ids: Sequence[Any] | None = None,
    *,
    item: Sequence[Item],
    **_: Any,
) -> list[float | None]:
    """Overlap (intersection over union) of the boxes in the reply with the annotated ones, in [0, 1].

    A box is written `<box>x0 y0 x1 y1</box>`: four whole numbers, thousandths of the image's width and height, with
    x0 < x1 <= 1000 and y0 < y1 <= 1000. Each counts by its best match among the annotated boxes, a malformed one by 0,
    and the reply by their mean, so that a shower of boxes does not pay; 0 without any. None (does not apply) where the
    item has no boxes, or no size that says what their pixels are a part of.
    """
    return [_overlap(reply(completion), annotated(one)) for completion, one in zip(completions, item, strict=True)]


def annotated(item: Item) -> list[BoxCoordinates]:
    """The item's boxes in thousandths of its image."""
    if item.evidence is None or item.width is None or item.height is None:
        return []
    x, y = SCALE / item.width, SCALE / item.height
    return [(x * x0, y * y0, x * x1, y * y1) for x0, y0, x1, y1 in (box.xyxy for box in item.evidence.boxes)]


def iou(a: BoxCoordinates, b: BoxCoordinates) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1) of positive area."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / (_area(a) + _area(b) - shared)


def _overlap(text: str, truth: Sequence[BoxCoordinates]) -> float | None:
    if not truth:
        return None
    valid = [box for match in _BOX.finditer(text) if (box := _box(match)) is not None]
    written = max(text.count(_OPEN), 1)
    return sum(max(iou(box, one) for one in truth) for box in valid) / written


def _box(match: re.Match[str]) -> BoxCoordinates | None:
    x0, y0, x1, y1 = (float(number) for number in match.groups())
    return (x0, y0, x1, y1) if x0 < x1 <= SCALE and y0 < y1 <= SCALE else None


def _area(box: BoxCoordinates) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
