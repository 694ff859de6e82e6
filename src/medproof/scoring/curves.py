"""Accuracy against the size of an attack, and against its effort."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from medproof.records import Condition
from medproof.scoring.attack_key import AttackKey
from medproof.scoring.numbers import Json, share
from medproof.scoring.scored import CLEAN, Scored, both, counted, is_correct
from medproof.scoring.worst_case import distance

QUANTILES = 10
Controls = Mapping[tuple[str, Fraction], str]


def curves(scored: Scored, keys: Sequence[AttackKey], controls: Controls) -> list[Json]:
    """Per family of attack, and for random noise, its accuracy against eps: smallest first, beginning clean at 0.

    An attack of smallest distance gives a curve by itself: the share of items right clean and not fooled within eps.
    """
    families: dict[tuple[str, str, str], dict[Fraction, str]] = {}
    for key in keys:
        if key.eps is not None:
            families.setdefault((key.family, key.name, key.norm), {}).setdefault(key.eps, key.condition)
    for (norm, eps), condition in controls.items():
        name = Condition.parse(condition).name
        families.setdefault((name, name, norm), {})[eps] = condition
    budgeted = [
        {
            "family": family,
            "attack": name,
            "norm": norm,
            "condition": by_eps[max(by_eps)],
            "points": [_point(scored, eps, by_eps.get(eps, CLEAN)) for eps in sorted({Fraction(0), *by_eps})],
        }
        for (family, name, norm), by_eps in families.items()
    ]
    return budgeted + [_by_distance(scored, key) for key in keys if key.minimal]


def convergence(scored: Scored, keys: Sequence[AttackKey]) -> list[Json]:
    """Per attack that was run with several numbers of steps or restarts: accuracy against steps x restarts."""
    lineages: dict[str, list[AttackKey]] = {}
    for key in keys:
        if key.steps is not None:
            lineages.setdefault(key.lineage, []).append(key)
    return [
        {
            "attack": found[0].name,
            "norm": found[0].norm,
            "eps_255": found[0].eps_255,
            "objective": found[0].objective,
            "points": [
                {
                    "condition": key.condition,
                    "steps": key.steps,
                    "restarts": key.restarts or 1,
                    **_accuracy(scored, key.condition),
                }
                for key in sorted(found, key=lambda key: ((key.restarts or 1) * (key.steps or 1), key.restarts or 1))
            ],
        }
        for found in lineages.values()
        if len(found) > 1
    ]


def distances(scored: Scored, key: AttackKey) -> list[float]:
    """Per item right when clean: how far the image had to be moved to fool the decoded answer; inf where it was not."""
    found = []
    for item_id, before, after in both(scored.outcomes[CLEAN], scored.outcomes[key.condition]):
        if is_correct(before):
            moved = distance(scored, key, item_id)
            found.append(math.inf if is_correct(after) or moved is None else moved)
    return sorted(found)


def _by_distance(scored: Scored, key: AttackKey) -> Json:
    """At each tenth of the distances found: clean accuracy less the items fooled within it."""
    moved = [value for value in distances(scored, key) if math.isfinite(value)]
    n = len(both(scored.outcomes[CLEAN], scored.outcomes[key.condition]))
    right = len(distances(scored, key))
    places = sorted({math.ceil(len(moved) * q / QUANTILES) - 1 for q in range(1, QUANTILES + 1)} if moved else ())
    points = [{"eps_255": 0.0, "condition": key.condition, **share([i < right for i in range(n)], "accuracy")}]
    for eps in sorted({moved[place] for place in places}):
        left = right - sum(value <= eps for value in moved)
        row = share([i < left for i in range(n)], "accuracy")
        points.append({"eps_255": eps * 255, "condition": key.condition, **row})
    return {
        "family": key.family,
        "attack": key.name,
        "norm": key.norm,
        "condition": key.condition,
        "points": points,
    }


def _point(scored: Scored, eps: Fraction, condition: str) -> Json:
    return {"eps_255": float(eps * 255), "condition": condition, **_accuracy(scored, condition)}


def _accuracy(scored: Scored, condition: str) -> Json:
    return share((is_correct(outcome) for outcome in counted(scored.outcomes[condition]).values()), "accuracy")
