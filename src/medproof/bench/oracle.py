"""The oracle: a rule that reads the evidence an item stores, and nothing else, must answer every item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from medproof.bench.case import LESIONS, SUBJECT, stored_case
from medproof.bench.task import Task, task_of
from medproof.records import Item


def oracle_answer(item: Item, tasks: Mapping[str, Task], root: Path, lesions: frozenset[str] = LESIONS) -> str | None:
    """The answer that `item`'s own evidence gives: boxes, mask file below `root`, and the annotation in its facts.

    None where the evidence does not support the question. The item's answer is not looked at.
    """
    case = stored_case(item, root, lesions)
    subject = item.facts.get(SUBJECT, "")
    answers = {r.answer for r in tasks[task_of(item)].read(case) if r.subject == subject}
    return answers.pop() if len(answers) == 1 else None


def oracle_misses(
    items: Iterable[Item], tasks: Mapping[str, Task], root: Path, lesions: frozenset[str] = LESIONS
) -> list[str]:
    """Ids of the items that the oracle gets wrong; empty for a sound benchmark."""
    return [item.id for item in items if oracle_answer(item, tasks, root, lesions) != item.answer]
