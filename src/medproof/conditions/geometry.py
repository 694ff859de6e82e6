"""The image mirrored left to right. No torch.

Only for items that say what mirroring does to their answer: `facts["mirror"]` is `keep` where the answer knows no side,
or `flip` where it names one, so that left and right change places in it. Where nothing is said it is worked out for two
kinds of item that leave no doubt: the modality knows no side, and options that are places in the image do. Everything
else is skipped, for a heart on the other side is another finding.
"""

import re
from collections.abc import Sequence

import numpy as np

from medproof.conditions.context import Context
from medproof.conditions.kind import Arguments, Kind
from medproof.conditions.parameters import choice
from medproof.conditions.regions import place_of
from medproof.records import Condition, Item, View
from medproof.scoring.asked import asked

MIRROR = "mirror"
"""The fact that says what mirroring does to the answer: keep or flip."""
_SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)
_OTHER = {"left": "right", "right": "left", "Left": "Right", "Right": "Left", "LEFT": "RIGHT", "RIGHT": "LEFT"}


def other_side(text: str) -> str:
    """left and right exchanged."""
    return _SIDE.sub(lambda match: _OTHER.get(match[0], match[0]), text)


def effect(item: Item) -> str | None:
    """`keep`, `flip`, or None where it is not known."""
    if item.facts.get(MIRROR) in ("keep", "flip"):
        return item.facts[MIRROR]
    if item.question_type == "Modality Recognition" and not _SIDE.search(" ".join((item.question, *item.options))):
        return "keep"
    places = [place_of(option) for option in item.options]
    if all(places) and not _SIDE.search(item.question):
        return "flip" if _SIDE.search(item.answer) else "keep"
    return None


def mirrored_gold(item: Item) -> int | None:
    """Index of the option that is right once the image is mirrored; None where it is not among them, or not known."""
    known = effect(item)
    if known is None:
        return None
    answer = other_side(item.answer) if known == "flip" else item.answer
    return item.options.index(answer) if answer in item.options else None


def mirrored(items: Sequence[Item], condition: Condition, given: Arguments, context: Context) -> list[View | None]:
    """`mirrored(answer)`: the items whose answer stays (`keep`), or those whose answer changes sides (`flip`)."""
    views: list[View | None] = []
    for item in items:
        gold = mirrored_gold(item)
        if gold is None or effect(item) != given["answer"]:
            views.append(None)
            continue
        info = {"gold": float(gold)}
        image = np.ascontiguousarray(context.load(item)[:, ::-1])
        views.append(context.view(asked(item, info), condition, image, info))
    return views


KINDS = (
    Kind(
        "mirrored",
        "the image left to right: items whose answer stays (keep), or changes sides (flip); others are skipped",
        mirrored,
        (choice("answer", ("keep", "flip")),),
        expected=lambda given: "flip" if given["answer"] == "flip" else "keep",
    ),
)
