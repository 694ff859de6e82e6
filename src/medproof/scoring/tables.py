"""Everything report.json says about one condition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from medproof.records import LETTERS, Item, Outcome
from medproof.scoring.asked import asked
from medproof.scoring.numbers import Json, distribution, share
from medproof.scoring.pairs import flips
from medproof.scoring.scored import CLEAN, Scored, counted, is_correct
from medproof.scoring.text_prior import normal_form

DEGENERATE_SHARE = 0.9
NO_ANSWER = "none"
GROUPS: dict[str, Callable[[Item], str]] = {
    "modality": lambda item: item.modality,
    "question_type": lambda item: item.question_type,
    "source": lambda item: item.source or "not stated",
}


def chance(items: Iterable[Item]) -> float | None:
    """Mean of 1/K over the questions; None for none."""
    shares = [1 / len(item.options) for item in items]
    return sum(shares) / len(shares) if shares else None


def condition_table(scored: Scored, condition: str, seed: int = 0) -> Json:
    """One entry of "conditions". `n` = correct + wrong + abstain + unparsed is what accuracy is taken over, `n_in` =
    n + error; `missing` items have no response at all. Flips are against clean; null for clean itself.
    """
    arm = scored.outcomes[condition]
    kept = counted(arm)
    items = {i: asked(scored.items[i], scored.responses[condition][i].info) for i in kept}
    statuses = [outcome.status for outcome in arm.values()]
    letters = distribution(_letter(outcome.chosen, items[i]) for i, outcome in kept.items())
    return {
        **share(map(is_correct, kept.values()), "accuracy"),
        "n_in": len(arm),
        **{status: statuses.count(status) for status in ("correct", "wrong", "abstain", "unparsed", "error")},
        "missing": scored.missing(condition),
        "not_applicable": scored.not_applicable.get(condition, 0),
        "truncated": sum(response.truncated for response in scored.responses[condition].values()),
        "chance": chance(items.values()),
        "answer_distribution": letters,
        "degenerate": degenerate(letters, kept.values()),
        "rules": distribution(outcome.rule for outcome in kept.values()),
        "forced_choice": _forced_choice(kept, items),
        **_against_clean(scored, condition, seed),
        "by": {name: _groups(kept, scored.items, value_of) for name, value_of in GROUPS.items()},
    }


def degenerate(letters: Mapping[str, float], outcomes: Iterable[Outcome]) -> bool:
    """Whether one letter, or one option text, takes more than 90 % of the replies."""
    texts = distribution(NO_ANSWER if o.chosen is None else normal_form(o.chosen) for o in outcomes)
    taken = [part for shares in (letters, texts) for answer, part in shares.items() if answer != NO_ANSWER]
    return max(taken, default=0.0) > DEGENERATE_SHARE


def _letter(option: str | None, item: Item) -> str:
    return NO_ANSWER if option is None else LETTERS[item.options.index(option)]


def _forced_choice(kept: Mapping[str, Outcome], items: Mapping[str, Item]) -> Json | None:
    """The second reading, argmax of the option log-probabilities; None where the model gives none."""
    forced = {item_id: o.forced_choice for item_id, o in kept.items() if o.forced_choice is not None}
    if not forced:
        return None
    return {
        **share((option == items[i].answer for i, option in forced.items()), "accuracy"),
        "answer_distribution": distribution(_letter(option, items[i]) for i, option in forced.items()),
    }


def _against_clean(scored: Scored, condition: str, seed: int) -> Json:
    names = ("flip", "harmful_flip", "harmful_wrong", "harmful_abstain", "harmful_unparsed", "beneficial_flip", "net")
    if condition == CLEAN or CLEAN not in scored.outcomes:
        return {key: None for name in names for key in (name, f"{name}_ci95")}
    pairs = flips(scored.outcomes[CLEAN], scored.outcomes[condition], scored.items, seed)
    values = {name: pairs[name]["value"] for name in names}
    return {**values, **{f"{name}_ci95": pairs[name]["ci95"] for name in names}}


def _groups(kept: Mapping[str, Outcome], items: Mapping[str, Item], value_of: Callable[[Item], str]) -> Json:
    groups: dict[str, list[str]] = {}
    for item_id in kept:
        groups.setdefault(value_of(items[item_id]), []).append(item_id)
    return {
        value: {
            **share((is_correct(kept[i]) for i in ids), "accuracy"),
            "chance": chance(items[i] for i in ids),
        }
        for value, ids in sorted(groups.items())
    }
