"""Conditions that ask whether a model looks: the image itself, none, a grey one, someone else's. No torch."""

from collections.abc import Sequence

import numpy as np

from medproof.conditions.context import Context
from medproof.conditions.kind import Arguments, Kind
from medproof.conditions.swap import Donors
from medproof.records import Condition, Item, View

GREY = 128


def clean(items: Sequence[Item], condition: Condition, _: Arguments, context: Context) -> list[View | None]:
    """The item's own image, untouched."""
    return [context.view(item, condition, context.load(item)) for item in items]


def blank(items: Sequence[Item], condition: Condition, _: Arguments, context: Context) -> list[View | None]:
    """Mid-grey of the size of the item's own image, so that the model sees as many visual tokens."""
    return [context.view(item, condition, np.full_like(context.load(item), GREY)) for item in items]


def noimage(items: Sequence[Item], condition: Condition, _: Arguments, context: Context) -> list[View | None]:
    """The question alone; no image token is sent."""
    return [context.view(item, condition, None) for item in items]


def shuffled(items: Sequence[Item], condition: Condition, _: Arguments, context: Context) -> list[View | None]:
    """The image of another item (see `swap.Donors`); None where the data set has no other image of the modality.

    Files can differ and hold the same pixels, so pixels are compared, and the next donor is taken if they are equal.
    """
    donors = context.plan("shuffled", lambda: Donors(context.dataset.items, context.seed))
    views: list[View | None] = []
    for item in items:
        own = context.load(item)
        others = (context.load(donor) for donor in donors.of(item))
        image = next((other for other in others if not np.array_equal(own, other)), None)
        views.append(None if image is None else context.view(item, condition, image))
    return views


KINDS = (
    Kind("clean", "the item as it is", clean, expected="keep"),
    Kind("blank", "a mid-grey image of the same size", blank),
    Kind("noimage", "the question without any image", noimage),
    Kind("shuffled", "the image of another item, of the same modality and question where there is one", shuffled),
)
