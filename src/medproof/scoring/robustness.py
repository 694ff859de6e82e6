"""Robust accuracy over the attacks of a run, and how much of it rests on the image (METRICS, "Robustness")."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from medproof.records import Condition, Outcome, Response
from medproof.scoring.attack_key import AttackKey, attacks, random_controls
from medproof.scoring.numbers import Json, share
from medproof.scoring.scored import CLEAN, Outcomes, Responses, answer_of, both, counted, is_correct, named

Controls = Mapping[tuple[str, Fraction], str]
_FAILURES = ("wrong", "abstain", "unparsed", "truncated")


def robustness(outcomes: Outcomes, responses: Responses | None = None) -> Json | None:
    """The robust block of report.json; None where no attack was run, or nothing was run clean.

    Over the items counted clean and under every attack:

    - `RA` = mean_i min_k c_ik, k over clean and all attacks;
    - `RA_star` = P(clean correct, every attack survived, a_blank != a_real); null without a blank image;
    - `RA_blank_wrong` = RA on the items that the blank image gets wrong; null without a blank image.

    Each with `_ci95` (Wilson) and `_n`; `excluded` counts the items left out. `attacks` holds one entry per attack,
    `curves` accuracy against eps, with eps 0 = clean. Forwards and backwards are sums over `Response.info`.
    """
    keys = attacks(outcomes)
    if not keys or CLEAN not in outcomes:
        return None
    controls = random_controls(outcomes)
    return {
        **_worst_case(outcomes, keys),
        "attacks": {key.condition: _attack(key, outcomes, responses or {}, controls) for key in keys},
        "curves": _curves(outcomes, keys, controls),
    }


def _worst_case(outcomes: Outcomes, keys: list[AttackKey]) -> Json:
    arms = [counted(outcomes[condition]) for condition in (CLEAN, *(key.condition for key in keys))]
    ids = [item_id for item_id in arms[0] if all(item_id in arm for arm in arms)]
    survived = {item_id: all(is_correct(arm[item_id]) for arm in arms) for item_id in ids}
    asked = set().union(*(outcomes[key.condition] for key in keys), outcomes[CLEAN])
    block: Json = {"excluded": len(asked) - len(ids), **_named("RA", share(survived.values()))}
    blank_key = named(outcomes, "blank")
    if blank_key is None:
        return {**block, **_named("RA_star", None), **_named("RA_blank_wrong", None)}
    blank = counted(outcomes[blank_key])
    seen = [item_id for item_id in ids if item_id in blank]
    star = share(survived[i] and answer_of(blank[i]) != answer_of(arms[0][i]) for i in seen)
    hard = share(survived[i] for i in seen if not is_correct(blank[i]))
    return {**block, **_named("RA_star", star), **_named("RA_blank_wrong", hard)}


def _named(name: str, value: Json | None) -> Json:
    value = value or {"value": None, "ci95": None, "n": 0}
    return {name: value["value"], f"{name}_ci95": value["ci95"], f"{name}_n": value["n"]}


def _attack(key: AttackKey, outcomes: Outcomes, responses: Responses, controls: Controls) -> Json:
    clean, arm = outcomes[CLEAN], outcomes[key.condition]
    replies = responses.get(key.condition, {})
    success = share(not is_correct(after) for _, before, after in both(clean, arm) if is_correct(before))
    control = None if key.norm is None or key.eps is None else controls.get((key.norm, key.eps))
    return {
        **_accuracy(arm),
        **_named("success_rate", success),
        "failures": _failures(clean, arm, replies),
        "attack": key.name,
        "norm": key.norm,
        "eps_255": key.eps_255,
        "steps": key.steps,
        "restarts": key.restarts,
        "objective": key.objective,
        "params": key.params,
        "forwards": _total(replies, "forwards"),
        "backwards": _total(replies, "backwards"),
        # What is stored and scored is the 8-bit image and the decoded reply, never the attack's own loss.
        "eight_bit": True,
        "decoded": True,
        "control": None if control is None else {"condition": control, **_accuracy(outcomes[control])},
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
        cut = after.status == "unparsed" and item_id in replies and replies[item_id].truncated
        counts["truncated" if cut else after.status] += 1
    return counts


def _total(replies: Mapping[str, Response], name: str) -> int | None:
    """Sum of a count over the items; None where no response reports it."""
    values = [response.info[name] for response in replies.values() if name in response.info]
    return round(sum(values)) if values else None


def _curves(outcomes: Outcomes, keys: list[AttackKey], controls: Controls) -> list[Json]:
    """Per family of attack, and for random noise, its accuracy against eps: smallest first, beginning clean at 0."""
    families: dict[tuple[str, str, str], dict[Fraction, str]] = {}
    for key in keys:
        if key.norm is not None and key.eps is not None:
            families.setdefault((key.family, key.name, key.norm), {}).setdefault(key.eps, key.condition)
    for (norm, eps), condition in controls.items():
        name = Condition.parse(condition).name
        families.setdefault((name, name, norm), {})[eps] = condition
    return [
        {
            "family": family,
            "attack": name,
            "norm": norm,
            "points": [_point(eps, by_eps.get(eps, CLEAN), outcomes) for eps in sorted({Fraction(0), *by_eps})],
        }
        for (family, name, norm), by_eps in families.items()
    ]


def _point(eps: Fraction, condition: str, outcomes: Outcomes) -> Json:
    return {"eps_255": float(eps * 255), "condition": condition, **_accuracy(outcomes[condition])}
