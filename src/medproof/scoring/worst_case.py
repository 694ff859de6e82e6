"""Worst case over attacks, per item: RA, RA* and RA where a blank image fails (METRICS, "Robustness").

A threat model is a norm and an eps. Every image of a smaller ball lies in the larger one, so an attack counts at its
own eps and at all larger ones of its norm. An attack that searches the smallest distance counts at an eps for the items
that it fooled within it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from medproof.scoring.attack_key import AttackKey
from medproof.scoring.numbers import Json, share
from medproof.scoring.scored import CLEAN, Scored, answer_of, counted, is_correct, named

DISTANCES = {"linf": ("linf_255", 255.0), "l2": ("l2", 1.0)}
"""Where a response tells how far its image lies from the clean one, and the unit as a divisor to [0, 1] pixels."""


@dataclass(frozen=True)
class Threat:
    """The ball of radius `eps`, in [0, 1] pixels."""

    norm: str
    eps: Fraction

    def covers(self, key: AttackKey) -> bool:
        """Whether images of the attack `key` may lie in the ball."""
        return key.norm == self.norm and (key.minimal or (key.eps is not None and key.eps <= self.eps))


def threats(keys: Sequence[AttackKey]) -> list[Threat]:
    """The budgets of the attacks, smallest first within a norm."""
    found = {Threat(key.norm, key.eps) for key in keys if key.eps is not None}
    return sorted(found, key=lambda threat: (threat.norm, threat.eps))


def worst_case(scored: Scored, keys: Sequence[AttackKey], threat: Threat | None = None) -> Json:
    """RA, RA_star and RA_blank_wrong, each with `_ci95` (Wilson) and `_n`, over the items counted clean and under every
    attack; `excluded` counts the others. The last two are null without a blank image.

    threat: the budget at which attacks of smallest distance are counted; without one they are left out.
    """
    held = {key.condition: arm(scored, key, threat) for key in keys if threat is not None or not key.minimal}
    survived = survivors(scored, held)
    asked = set().union(*(scored.outcomes[condition] for condition in held), scored.outcomes[CLEAN])
    shares = {"RA": share(survived.values() if held else ()), **looking(scored, survived if held else {})}
    block: Json = {"excluded": len(asked) - len(survived)}
    for name, value in shares.items():
        block |= {name: value["value"], f"{name}_ci95": value["ci95"], f"{name}_n": value["n"]}
    return block


def survivors(scored: Scored, held: Mapping[str, Mapping[str, bool]]) -> dict[str, bool]:
    """Item id -> right clean and in every arm (attack -> item id -> stays right), of the items counted in all."""
    clean = counted(scored.outcomes[CLEAN])
    ids = [item_id for item_id in clean if all(item_id in by_item for by_item in held.values())]
    return {i: is_correct(clean[i]) and all(by_item[i] for by_item in held.values()) for i in ids}


def looking(scored: Scored, survived: Mapping[str, bool]) -> dict[str, Json]:
    """RA_star = P(survived and a_blank != a_real), and RA_blank_wrong = RA on the items that the blank image gets
    wrong: shares of the items asked blank, null where there are none."""
    clean = scored.outcomes[CLEAN]
    key = named(scored.outcomes, "blank")
    blank = {} if key is None else counted(scored.outcomes[key])
    seen = [item_id for item_id in survived if item_id in blank]
    return {
        "RA_star": share(survived[i] and answer_of(blank[i]) != answer_of(clean[i]) for i in seen),
        "RA_blank_wrong": share(survived[i] for i in seen if not is_correct(blank[i])),
    }


def by_threat(scored: Scored, keys: Sequence[AttackKey]) -> list[Json]:
    """`worst_case` of each threat model, with a column per attack that counts there.

    `members`: per attack its accuracy within the ball on all its items, and `only`, how many items it alone fools.
    """
    blocks = []
    for threat in threats(keys):
        members = [key for key in keys if threat.covers(key)]
        held = {key.condition: arm(scored, key, threat) for key in members}
        blocks.append(
            {
                "norm": threat.norm,
                "eps_255": float(threat.eps * 255),
                **worst_case(scored, members, threat),
                "members": {
                    condition: {**share(by_item.values(), "accuracy"), "only": _only(condition, held)}
                    for condition, by_item in held.items()
                },
            }
        )
    return blocks


def arm(scored: Scored, key: AttackKey, threat: Threat | None = None) -> dict[str, bool]:
    """Item id -> whether the model stays right under the attack, counting no image outside `threat`.

    Items the attack does not apply to stay right if they were right clean; errors and missing answers are left out.
    """
    held = {
        item_id: is_correct(outcome) or (threat is not None and _outside(scored, key, item_id, threat))
        for item_id, outcome in counted(scored.outcomes[key.condition]).items()
    }
    absent = [item_id for item_id in scored.items if item_id not in scored.outcomes[key.condition]]
    if absent and len(absent) == scored.not_applicable.get(key.condition, 0):
        clean = counted(scored.outcomes[CLEAN])
        held |= {item_id: is_correct(clean[item_id]) for item_id in absent if item_id in clean}
    return held


def distance(scored: Scored, key: AttackKey, item_id: str) -> float | None:
    """Measured distance of the attacked image from the clean one, [0, 1] pixels, in the attack's norm; None: untold."""
    name, unit = DISTANCES[key.norm]
    value = scored.responses[key.condition][item_id].info.get(name)
    return None if value is None else value / unit


def _outside(scored: Scored, key: AttackKey, item_id: str, threat: Threat) -> bool:
    """An item that is wrong clean is wrong at any distance."""
    if not key.minimal or not _right(scored, item_id):
        return False
    moved = distance(scored, key, item_id)
    return moved is None or moved > threat.eps


def _right(scored: Scored, item_id: str) -> bool:
    clean = scored.outcomes[CLEAN].get(item_id)
    return clean is not None and is_correct(clean)


def _only(condition: str, held: dict[str, dict[str, bool]]) -> int:
    others = [by_item for other, by_item in held.items() if other != condition]
    return sum(not stays and all(o.get(i, True) for o in others) for i, stays in held[condition].items())
