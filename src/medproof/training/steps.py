"""The stepwise rationale of an item: the steps of its chain that it builds on with their evidence, then its answer.

Written in the grammar of `rewards.statements`, and kept as the item's fact `steps`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from medproof.bench.task import task_of
from medproof.conditions.chains import Chains, told
from medproof.frozen import FrozenDict
from medproof.models.prompts import EARLIER, STEPS
from medproof.records import Item
from medproof.training.rewards.points import annotated
from medproof.training.rewards.statements import CONCLUSION, EVIDENCE, box_text, option_box


def with_steps(items: Iterable[Item], everything: Iterable[Item]) -> list[Item]:
    """The items with their stepwise rationale as the fact `steps`; everything: the items their chains are made of.

    An item without a stage stays as it is. Raises UserError where parents go in a circle.
    """
    return _with_fact(items, everything, STEPS, rationale)


def with_earlier(items: Iterable[Item], everything: Iterable[Item]) -> list[Item]:
    """The items with the earlier steps and their right answers as the fact `earlier`, ready to stand before them.

    The same items and errors as of `with_steps`; an item that builds on nothing stays as it is.
    """
    return _with_fact(items, everything, EARLIER, lambda _, earlier: told([(step, step.answer) for step in earlier]))


def rationale(item: Item, earlier: Iterable[Item]) -> str:
    """What is stated of the steps before `item`, and its answer."""
    answers = [(step, _answer(step)) for step in earlier]
    known = {answer for _, answer in answers}
    parts = []
    for step, answer in answers:
        parts.append(f"{task_of(step).replace('_', ' ')}: {answer}")
        boxes = [box_text(box) for box in annotated(step)]
        if len(boxes) == 1 and boxes[0] not in known:
            parts.append(f"{EVIDENCE}: {boxes[0]}")
            known.add(boxes[0])
    return (f"{'; '.join(parts)}. " if parts else "") + f"{CONCLUSION}{' '.join(item.answer.split())}."


def _answer(step: Item) -> str:
    box = option_box(step.answer)
    return " ".join(step.answer.split()) if box is None else box_text(box)


def _with_fact(
    items: Iterable[Item], everything: Iterable[Item], name: str, say: Callable[[Item, Sequence[Item]], str]
) -> list[Item]:
    """The items with what there is to say of their earlier steps as a fact."""
    earlier = Chains.of(everything).earlier
    found = []
    for item in items:
        words = say(item, earlier[item.id]) if item.id in earlier else ""
        found.append(item.model_copy(update={"facts": FrozenDict({**item.facts, name: words})}) if words else item)
    return found
