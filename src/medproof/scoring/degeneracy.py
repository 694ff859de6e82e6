"""Options, calibration, degeneracy (METRICS): does the order of the options decide? Do the probabilities hold?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from medproof.records import LETTERS, Condition, Item, Outcome
from medproof.scoring.asked import asked
from medproof.scoring.intervals import Floats
from medproof.scoring.numbers import Json, bootstrapped, share
from medproof.scoring.scored import CLEAN, Scored, answer_of, counted, is_correct
from medproof.scoring.tables import DEGENERATE_SHARE, NO_ANSWER

BINS = 15
COVERAGES = (0.25, 0.5, 0.75, 1.0)


def options_block(scored: Scored, conditions: Mapping[str, Json], seed: int = 0) -> Json | None:
    """The options block; null without rotations of the options and without option probabilities.

    - `circular` (null without rotations): over the items answered in every rotation, `accuracy` (right in all of them),
      `plain` (as first asked), `consistency` (the same answer by content in all); `left_out`: all other items;
    - `position`: `recall` by the letter of the right option over clean and all rotations, and its standard deviation
      over the letters, `bias`;
    - `calibration` (null without probabilities): `calibration` below, of the clean replies;
    - `alarms`: conditions of `conditions` (the table) where one answer takes more than 90 % of the replies.
    """
    rotations = _rotations(scored.conditions)
    told = _probabilities(scored)
    if len(rotations) < 2 and not told:
        return None
    return {
        "circular": _circular(scored, rotations) if len(rotations) > 1 else None,
        "position": _position(scored, list(rotations.values()), seed),
        "calibration": calibration(told, seed) if told else None,
        "alarms": [_alarm(key, table) for key, table in conditions.items() if table["degenerate"]],
        "threshold": DEGENERATE_SHARE,
    }


def calibration(told: Sequence[tuple[Item, Floats]], seed: int = 0) -> Json:
    """Of (item, option probabilities (K,)):

    - `ece`: mean |confidence - accuracy| over 15 equal bins of the largest probability, weighted by count (Guo et al.
      2017); `brier`: mean over items of sum_k (p_k - y_k)^2, in [0, 2];
    - `selective`: accuracy of the most confident 25, 50, 75, 100 % (ties in the order of item ids).
    """
    confidence = np.array([p.max() for _, p in told])
    right = np.array([item.answer_index == int(p.argmax()) for item, p in told])
    squares = [float(np.square(p).sum() - 2 * p[item.answer_index] + 1) for item, p in told]
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    used = sorted(set(bins.tolist()))
    columns = [squares]
    for values in (confidence, right.astype(np.float64)):
        columns += [np.where(bins == number, values, 0.0).tolist() for number in used]

    def ece(means: Floats) -> Floats:
        half = 1 + len(used)
        return np.asarray(np.abs(means[..., 1:half] - means[..., half:]).sum(axis=-1))

    statistics: dict[str, Callable[[Floats], Floats]] = {"brier": lambda means: means[..., 0], "ece": ece}
    order = sorted(range(len(told)), key=lambda i: (-confidence[i], told[i][0].id))
    kept = {coverage: order[: max(1, round(coverage * len(order)))] for coverage in COVERAGES}
    return {
        **bootstrapped(columns, statistics, [item.cluster for item, _ in told], seed),
        "selective": {str(coverage): share(bool(right[i]) for i in chosen) for coverage, chosen in kept.items()},
    }


def _rotations(conditions: Sequence[str]) -> dict[int, str]:
    """Places turned by -> condition key; clean is 0."""
    parsed = [Condition.parse(key) for key in conditions]
    turned = {int((*c.args, *c.kwargs.values())[0]): c.key for c in parsed if c.name == "rotated"}
    return {0: CLEAN, **turned} if CLEAN in conditions else {}


def _circular(scored: Scored, rotations: Mapping[int, str]) -> Json:
    arms = {by: counted(scored.outcomes[key]) for by, key in rotations.items()}
    circles: list[list[Outcome]] = []
    for item_id in arms[0]:
        needed = range(len(scored.items[item_id].options))
        if all(by in arms and item_id in arms[by] for by in needed):
            circles.append([arms[by][item_id] for by in needed])
    return {
        "accuracy": share(all(map(is_correct, circle)) for circle in circles),
        "plain": share(is_correct(circle[0]) for circle in circles),
        "consistency": share(len({answer_of(outcome) for outcome in circle}) == 1 for circle in circles),
        "left_out": len(arms[0]) - len(circles),
    }


def _position(scored: Scored, keys: Sequence[str], seed: int) -> Json | None:
    """Recall by the letter under which the right option stood, pooled over the conditions."""
    rows = []
    for key in keys:
        for item_id, outcome in counted(scored.outcomes[key]).items():
            item = asked(scored.items[item_id], scored.responses[key][item_id].info)
            rows.append((item.answer_index, is_correct(outcome), item.cluster))
    places = sorted({place for place, _, _ in rows})
    if not places:
        return None
    columns = [[float(hit and place == p) for place, hit, _ in rows] for p in places]
    columns += [[float(place == p) for place, _, _ in rows] for p in places]

    def spread(means: Floats) -> Floats:
        return np.asarray((means[..., : len(places)] / means[..., len(places) :]).std(axis=-1))

    return {
        "conditions": list(keys),
        "recall": {LETTERS[p]: share(hit for place, hit, _ in rows if place == p) for p in places},
        "bias": bootstrapped(columns, {"bias": spread}, [cluster for _, _, cluster in rows], seed)["bias"],
    }


def _probabilities(scored: Scored) -> list[tuple[Item, Floats]]:
    found = []
    for item_id, outcome in counted(scored.outcomes.get(CLEAN, {})).items():
        logprobs = scored.responses[CLEAN][item_id].option_logprobs
        if outcome.forced_choice is not None and logprobs is not None:
            p = np.exp(np.array(logprobs) - max(logprobs))
            found.append((scored.items[item_id], p / p.sum()))
    return found


def _alarm(key: str, table: Json) -> Json:
    """The letter given most often, and its share; where it is an option text that takes the replies, no letter does."""
    letters = {letter: part for letter, part in table["answer_distribution"].items() if letter != NO_ANSWER}
    letter = max(letters, key=lambda name: letters[name])
    return {"condition": key, "letter": letter, "share": letters[letter], "n": table["n"]}
