"""The attacks of a run and what they leave (METRICS, "Robustness")."""

from __future__ import annotations

import math
from collections.abc import Mapping

from medproof.records import Outcome, Response
from medproof.scoring.attack_key import AttackKey, attacks, random_controls
from medproof.scoring.curves import Controls, convergence, curves, distances
from medproof.scoring.numbers import Json, share
from medproof.scoring.scored import CLEAN, Scored, both, counted, is_correct
from medproof.scoring.validation import validation
from medproof.scoring.worst_case import by_threat, worst_case

MEMBER = "member_"
"""A union tells of each of its attacks, per item: 1 survived, 0 fell, absent where it was not run."""
_FAILURES = ("wrong", "abstain", "unparsed", "truncated")


def robustness(scored: Scored) -> Json | None:
    """The robust block of report.json; None where no attack was run, or nothing was run clean.

    - `RA` = mean_i min_k c_ik, k over clean and all attacks with a budget; `RA_star` = P(clean correct, every attack
      survived, a_blank != a_real); `RA_blank_wrong` = RA on the items that the blank image gets wrong: `worst_case`;
    - `threats`: the same for each norm and eps, with a column per attack;
    - `attacks`: one entry per attack; `curves`: accuracy against eps; `convergence`: against steps x restarts;
    - `validation`: what RA may be called, and the sanity checks that decide it.

    Forwards, backwards and queries are sums over `Response.info`.
    """
    keys = attacks(scored.conditions, scored.meta.get("arguments"))
    if not keys or CLEAN not in scored.outcomes:
        return None
    controls = random_controls(scored.conditions)
    return {
        **worst_case(scored, keys),
        "threats": by_threat(scored, keys),
        "attacks": {key.condition: _attack(key, scored, controls) for key in keys},
        "curves": curves(scored, keys, controls),
        "convergence": convergence(scored, keys),
        "validation": validation(scored.sanity, keys),
    }


def _attack(key: AttackKey, scored: Scored, controls: Controls) -> Json:
    clean, arm = scored.outcomes[CLEAN], scored.outcomes[key.condition]
    replies = scored.responses[key.condition]
    success = share(not is_correct(after) for _, before, after in both(clean, arm) if is_correct(before))
    control = None if key.eps is None else controls.get((key.norm, key.eps))
    return {
        **_accuracy(arm),
        **{f"success_rate{end}": success[name] for end, name in (("", "value"), ("_ci95", "ci95"), ("_n", "n"))},
        "failures": _failures(clean, arm, replies),
        "attack": key.name,
        "norm": key.norm,
        "eps_255": key.eps_255,
        "steps": key.steps,
        "restarts": key.restarts,
        "objective": key.objective,
        "params": key.params,
        **{name: _total(replies, name) for name in ("forwards", "backwards", "queries")},
        "members": _members(replies),
        "distance": _distance(scored, key) if key.minimal else None,
        # What is stored and scored is the 8-bit image and the decoded reply, never the attack's own loss.
        "eight_bit": True,
        "decoded": True,
        "control": None if control is None else {"condition": control, **_accuracy(scored.outcomes[control])},
    }


def _accuracy(arm: Mapping[str, Outcome]) -> Json:
    return share((is_correct(outcome) for outcome in counted(arm).values()), "accuracy")


def _failures(
    clean: Mapping[str, Outcome], arm: Mapping[str, Outcome], replies: Mapping[str, Response]
) -> dict[str, int]:
    """How the items that were right when clean failed; an unparsed reply that was cut off counts as truncated."""
    counts = dict.fromkeys(_FAILURES, 0)
    for item_id, before, after in both(clean, arm):
        if not is_correct(before) or is_correct(after):
            continue
        cut = after.status == "unparsed" and replies[item_id].truncated
        counts["truncated" if cut else after.status] += 1
    return counts


def _total(replies: Mapping[str, Response], name: str) -> int | None:
    """Sum of a count over the items; None where no response reports it."""
    values = [response.info[name] for response in replies.values() if name in response.info]
    return round(sum(values)) if values else None


def _members(replies: Mapping[str, Response]) -> dict[str, dict[str, int]] | None:
    """Per attack of a union, most often run first: how many items it was `run` on and how many `fell` to it."""
    told: dict[str, list[float]] = {}
    for response in replies.values():
        for name, value in response.info.items():
            if name.startswith(MEMBER):
                told.setdefault(name.removeprefix(MEMBER), []).append(value)
    ranked = sorted(told.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return {name: {"run": len(v), "fell": sum(x == 0 for x in v)} for name, v in ranked} or None


def _distance(scored: Scored, key: AttackKey) -> Json:
    """Of the items right when clean: `median` distance that fools the answer (null where more than half are never
    fooled), how many were `found`, of `n`."""
    moved = distances(scored, key)
    middle = (moved[(len(moved) - 1) // 2] + moved[len(moved) // 2]) / 2 if moved else math.inf
    return {
        "median": middle if math.isfinite(middle) else None,
        "found": sum(map(math.isfinite, moved)),
        "n": len(moved),
    }
