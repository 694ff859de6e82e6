"""A run with every response scored: outcomes by condition and item, and what is missing. The base of all metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from medproof.errors import UserError
from medproof.records import Condition, Item, Outcome, Response
from medproof.scoring.outcomes import outcome

Outcomes = Mapping[str, Mapping[str, Outcome]]
"""condition key -> item id -> outcome."""
Responses = Mapping[str, Mapping[str, Response]]

CLEAN = "clean"


class RunLike(Protocol):
    """What scoring needs of a run; `runs.store.RunData` is one."""

    @property
    def meta(self) -> Mapping[str, Any]:
        """run.json."""

    @property
    def items(self) -> Sequence[Item]:
        """Every item that was to be asked."""

    @property
    def responses(self) -> Sequence[Response]:
        """What came back."""

    @property
    def sanity(self) -> Mapping[str, Any] | None:
        """sanity.json, if the attacks were checked."""


@dataclass(frozen=True)
class Scored:
    """Outcomes and responses by condition and item id, conditions in the run's order.

    `not_applicable` counts the items a condition does not apply to; `repeated` the responses set aside because their
    item and condition already had one.
    """

    meta: Mapping[str, Any]
    items: Mapping[str, Item]
    conditions: tuple[str, ...]
    outcomes: Outcomes
    responses: Responses
    not_applicable: Mapping[str, int]
    repeated: int
    sanity: Mapping[str, Any] | None = None

    def missing(self, condition: str) -> int:
        """Items that should have a response under `condition` and have none."""
        return max(0, len(self.items) - len(self.outcomes[condition]) - self.not_applicable.get(condition, 0))


def score(run: RunLike) -> Scored:
    """Score every response of `run`.

    Of two responses for one item and condition a good one beats an error, then the lower key wins: nothing is counted
    twice. Raises UserError where an item id occurs twice or a response belongs to no item of the run.
    """
    items = {item.id: item for item in run.items}
    if len(items) != len(run.items):
        raise UserError("the run holds two items of the same id: build its items again")
    listed = list(run.meta.get("conditions", []))
    conditions = tuple(dict.fromkeys([*listed, *sorted({r.condition for r in run.responses})]))
    responses: dict[str, dict[str, Response]] = {condition: {} for condition in conditions}
    for response in sorted(run.responses, key=lambda r: (r.error is not None, r.key)):
        if response.item_id not in items:
            raise UserError(f"a response belongs to item {response.item_id!r}, which is none of the run's items")
        responses[response.condition].setdefault(response.item_id, response)
    # In the order of the items, whatever order the responses came in.
    ordered = {
        condition: {item_id: by_item[item_id] for item_id in items if item_id in by_item}
        for condition, by_item in responses.items()
    }
    return Scored(
        meta=run.meta,
        items=items,
        conditions=conditions,
        outcomes={
            condition: {item_id: outcome(items[item_id], response) for item_id, response in by_item.items()}
            for condition, by_item in ordered.items()
        },
        responses=ordered,
        not_applicable=dict(run.meta.get("not_applicable") or {}),
        repeated=len(run.responses) - sum(map(len, ordered.values())),
        sanity=run.sanity,
    )


def counted(by_item: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Outcomes without the errors: what an accuracy is taken over."""
    return {item_id: outcome for item_id, outcome in by_item.items() if outcome.status != "error"}


def is_correct(outcome: Outcome) -> bool:
    """Whether it counts as correct; abstain and unparsed do not."""
    return outcome.status == "correct"


def answer_of(outcome: Outcome) -> str:
    """a_ik: what was answered, by content; "<abstain>" or "<unparsed>" where no option was chosen."""
    return f"<{outcome.status}>" if outcome.chosen is None else outcome.chosen


def named(conditions: Iterable[str], name: str) -> str | None:
    """The first condition key of that name, whatever its arguments; None where there is none."""
    return next((key for key in conditions if Condition.parse(key).name == name), None)


def both(a: Mapping[str, Outcome], b: Mapping[str, Outcome]) -> list[tuple[str, Outcome, Outcome]]:
    """(item id, outcome in a, outcome in b) for the items with a counted outcome in both."""
    left, right = counted(a), counted(b)
    return [(item_id, left[item_id], right[item_id]) for item_id in left if item_id in right]
