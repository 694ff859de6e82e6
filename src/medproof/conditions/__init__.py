"""Conditions: what is done to an item before the model sees it.

`resolve` reads a condition's text, `prepare` makes views of items, `perturb` runs the attack where `needs_attack`.
Importing this package imports no torch.
"""

from collections.abc import Sequence

from medproof.conditions.context import Context
from medproof.conditions.kind import Order
from medproof.conditions.registry import arguments, check_model, kind_of, names, resolve
from medproof.records import Condition, Item, View

__all__ = [
    "Context",
    "arguments",
    "check_model",
    "names",
    "needs_attack",
    "order_of",
    "perturb",
    "prepare",
    "resolve",
]


def prepare(condition: Condition, items: Sequence[Item], context: Context) -> list[View | None]:
    """One view per item, in order; None where the condition does not apply to the item. Cheap; callable from threads.

    For an attack it is the clean view, under the attack's key. Data sets and loaded images are never written.
    Raises UserError for images that cannot be used.
    """
    return kind_of(condition).prepare(items, condition, arguments(condition), context)


def needs_attack(condition: Condition) -> bool:
    """Whether prepared views still have to go through `perturb`."""
    return kind_of(condition).perturb is not None


def order_of(condition: Condition) -> Order:
    """How the items of a chain wait for each other under the condition."""
    return kind_of(condition).order(arguments(condition))


def perturb(condition: Condition, views: Sequence[View], context: Context) -> list[View]:
    """Prepared views with the attacked 8-bit image and its numbers in `info`; unchanged where there is no attack.

    Raises UserError when the attack needs gradients and the model gives none; errors of the model pass through.
    """
    attack = kind_of(condition).perturb
    return list(views) if attack is None else attack(views, condition, arguments(condition), context)
