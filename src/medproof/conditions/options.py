"""The options in another order: every rotation. No torch."""

from collections.abc import Sequence

from medproof.conditions.context import Context
from medproof.conditions.kind import Arguments, Kind
from medproof.conditions.parameters import count
from medproof.records import MAX_OPTIONS, Condition, Item, View
from medproof.scoring.asked import asked


def rotated(items: Sequence[Item], condition: Condition, given: Arguments, context: Context) -> list[View | None]:
    """`rotated(by)`: the first `by` options behind the others; None for items with no more options than that.

    All rotations of an item with K options are `clean` and `rotated(1)` to `rotated(K-1)`.
    """
    by = int(given["by"])
    info = {"options_turned": float(by)}
    return [
        context.view(asked(item, info), condition, context.load(item), info) if by < len(item.options) else None
        for item in items
    ]


KINDS = (
    Kind(
        "rotated",
        "the options turned round by so many places; items with fewer options are skipped",
        rotated,
        (count("by", MAX_OPTIONS - 1),),
        expected="keep",
    ),
)
