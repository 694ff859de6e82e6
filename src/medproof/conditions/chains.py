"""Which earlier steps an item of a chain builds on, and which steps one call can ask together. No torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from medproof.conditions.swap import image_of
from medproof.records import Item


@dataclass(frozen=True)
class Chains:
    """The chains of a data set: the items of a case that have a stage, by stage, and within a stage behind what they
    build on.

    earlier: by item id, the steps that it builds on, in that order: its ancestors by `parents`; where no item of the
    case names a parent, the steps of all earlier stages. Parents that are not in the data set (`--limit`) are passed
    over. together: by item id, the steps of its chain about the same picture, itself among them.
    """

    earlier: Mapping[str, tuple[Item, ...]]
    together: Mapping[str, tuple[Item, ...]]

    @classmethod
    def of(cls, items: Iterable[Item]) -> "Chains":
        """Raises UserError where parents go in a circle."""
        cases: dict[str, dict[str, Item]] = {}
        for item in items:
            if item.stage is not None:
                cases.setdefault(item.case, {})[item.id] = item
        earlier: dict[str, tuple[Item, ...]] = {}
        together: dict[str, tuple[Item, ...]] = {}
        for steps in cases.values():
            before, order = _linked(steps)
            for item in order:
                earlier[item.id] = tuple(other for other in order if other.id in before[item.id])
                together[item.id] = tuple(other for other in order if image_of(other) == image_of(item))
        return cls(earlier, together)


def told(answered: Sequence[tuple[Item, str]]) -> str:
    """Earlier steps with their answers, as they stand before a question; empty for none."""
    lines = [f"{n}. {step.question} Answer: {answer}" for n, (step, answer) in enumerate(answered, 1)]
    return "\n".join(["Earlier steps:", *lines]) if lines else ""


def _linked(steps: Mapping[str, Item]) -> tuple[dict[str, set[str]], list[Item]]:
    """Ids of all the steps that each builds on, and the steps of the case in order."""
    from medproof.bench.chains import topological

    steps = dict(sorted(steps.items()))  # the same chain whatever the order of the data set
    parents = {name: [parent for parent in item.parents if parent in steps] for name, item in steps.items()}
    if not any(parents.values()):
        parents = {
            name: [other.id for other in steps.values() if str(other.stage) < str(item.stage)]
            for name, item in steps.items()
        }
    order = topological(parents, "the chain of items")
    before: dict[str, set[str]] = {}
    for name in order:  # parents come first
        before[name] = {ancestor for parent in parents[name] for ancestor in (parent, *before[parent])}
    return before, sorted((steps[name] for name in order), key=lambda item: str(item.stage))
