"""Two runs, or two conditions, on the same items: is one of them right more often than by chance?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medproof.errors import UserError
from medproof.records import Outcome
from medproof.scoring.intervals import paired_difference, same_items
from medproof.scoring.numbers import Json
from medproof.scoring.paired import holm, mcnemar
from medproof.scoring.scored import Scored, counted, is_correct

Pair = tuple[str, str]
"""Condition of the first run, condition of the second."""


def compare(a: Scored, b: Scored, pairs: Sequence[Pair] = ()) -> list[Json]:
    """One row per pair: accuracy of both arms, `difference` b - a with its cluster-bootstrap `ci95`, items right in one
    arm only, exact McNemar `p`, and `p_holm` over all rows.

    pairs: by default every condition that both runs hold. Raises UserError where a run lacks a condition, where the two
    arms of a pair hold different items, and where there is nothing to compare.
    """
    pairs = pairs or [(key, key) for key in a.conditions if key in b.outcomes]
    if not pairs:
        raise UserError("the two runs share no condition: name two with --condition and --against")
    rows = [_row(a, b, *pair) for pair in pairs]
    adjusted = holm([row["p"] for row in rows])
    return [{**row, "p_holm": p} for row, p in zip(rows, adjusted, strict=True)]


def _row(a: Scored, b: Scored, first: str, second: str) -> Json:
    left, right = _arm(a, first), _arm(b, second)
    same_items(left, right)
    test = mcnemar(left, right)
    clusters = {i: a.items[i].cluster for i in left}
    several = len(set(clusters.values())) > 1  # of one cluster no resample differs
    return {
        "a": first,
        "b": second,
        "n": test.n,
        "accuracy_a": _mean(left),
        "accuracy_b": _mean(right),
        "difference": _mean(right) - _mean(left),
        "ci95": list(paired_difference(right, left, clusters)[1:]) if several else None,
        "only_a": test.only_a,
        "only_b": test.only_b,
        "p": test.p,
    }


def _arm(scored: Scored, condition: str) -> dict[str, bool]:
    if condition not in scored.outcomes:
        raise UserError(f"the run holds no condition {condition!r}: it holds {', '.join(scored.conditions)}")
    outcomes: Mapping[str, Outcome] = counted(scored.outcomes[condition])
    return {item_id: is_correct(outcome) for item_id, outcome in outcomes.items()}


def _mean(arm: Mapping[str, bool]) -> float:
    return sum(arm.values()) / len(arm)
