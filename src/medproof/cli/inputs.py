"""Load and check what a command was given, before anything expensive begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medproof.errors import UserError

if TYPE_CHECKING:
    from medproof.cli.options import SplitChoice
    from medproof.datasets import Dataset
    from medproof.records import Condition


def select(data: Dataset, split: SplitChoice, limit: int | None, spec: str) -> Dataset:
    """The items of one split. Raises UserError, naming the split that has items, when there are none."""
    chosen = data.filter(split=split, limit=limit)
    if chosen.items:
        return chosen
    if not data.items:
        first = f"; first: {data.quarantined[0].where}: {data.quarantined[0].reason}" if data.quarantined else ""
        raise UserError(f"{spec} holds no usable item ({len(data.quarantined)} rows quarantined{first})")
    other = "train" if split == "test" else "test"
    raise UserError(f"{spec} has no items in split {split}: give --split {other} or --split all")


def resolve_conditions(texts: Sequence[str]) -> list[Condition]:
    """Conditions by their canonical keys, each once, in the order given. Raises UserError for an unknown one."""
    from medproof.conditions.registry import resolve

    return list({condition.key: condition for condition in map(resolve, texts)}.values())
