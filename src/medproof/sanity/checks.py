"""The checks as pure functions over stored answers and measured numbers. No torch.

A question is turned where the model is right clean and not right under the condition.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any, Literal

from medproof.sanity.catalogue import CATALOGUE
from medproof.scoring.paired import mcnemar_p
from medproof.scoring.scored import CLEAN, Scored, answer_of, both, counted, is_correct
from medproof.scoring.tables import chance

Verdict = Literal["passed", "failed", "not run"]
Numbers = Mapping[str, float | int | str | None]

TOLERANCE = 0.02
"""Share of the questions that a check may be off by: ties, and the arithmetic of another batch."""
GAIN = 0.10
ROUGH = 0.10
"""Relative change of the loss above which Pintor et al. call predictions unstable."""
PLANTED = 0.95
"""Share of planted adversaries that Zimmermann et al. ask an attack to find."""
BY_CHANCE = 0.5


@dataclass(frozen=True)
class Check:
    """`name` is one of `catalogue.CATALOGUE`; `reason` says why it was not run."""

    name: str
    verdict: Verdict
    numbers: Numbers = field(default_factory=dict)
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """The check with its documentation, as in sanity.json."""
        doc = CATALOGUE[self.name]
        told = {"title": doc.title, "indicator": doc.indicator, "measures": doc.measures}
        told |= {"means": doc.means, "remedy": doc.remedy}
        return {"name": self.name, "verdict": self.verdict, "numbers": dict(self.numbers), "reason": self.reason} | told


def not_run(name: str, reason: str) -> Check:
    """A check that could not be made."""
    return Check(name, "not run", reason=reason)


def _judged(name: str, passed: bool, **numbers: float | int | str | None) -> Check:
    return Check(name, "passed" if passed else "failed", numbers)


def eps_zero(scored: Scored, zero: str) -> Check:
    """The same image for every question, the same answer for all but TOLERANCE."""
    pairs = both(scored.outcomes[CLEAN], scored.outcomes[zero])
    if not pairs:
        return not_run("eps_zero", "no question has both answers")
    before, after = scored.responses[CLEAN], scored.responses[zero]
    images = sum(before[i].image_sha256 != after[i].image_sha256 for i, _, _ in pairs)
    answers = sum(answer_of(clean) != answer_of(other) for _, clean, other in pairs)
    passed = images == 0 and answers <= TOLERANCE * len(pairs)
    return _judged("eps_zero", passed, n=len(pairs), images_changed=images, answers_changed=answers)


def monotone(scored: Scored, ladder: Sequence[str]) -> Check:
    """`ladder`: conditions of rising eps. Accuracy rises nowhere by more than TOLERANCE, on the questions of both."""
    rises = {}
    for lower, upper in pairwise(ladder):
        pairs = both(scored.outcomes[lower], scored.outcomes[upper])
        if not pairs:
            return not_run("monotone", f"no question has answers under {lower} and {upper}")
        rises[upper] = sum(is_correct(b) - is_correct(a) for _, a, b in pairs) / len(pairs)
    shares = {key: _accuracy(scored, key) for key in ladder}
    return _judged("monotone", max(rises.values()) <= TOLERANCE, **shares, largest_rise=max(rises.values()))


def unbounded(scored: Scored, key: str) -> Check:
    """Accuracy at or below chance."""
    kept = counted(scored.outcomes[key])
    level = chance(scored.items[i] for i in kept)
    accuracy = _accuracy(scored, key)
    if level is None or accuracy is None:
        return not_run("unbounded", "no question has an answer")
    return _judged("unbounded", accuracy <= level, n=len(kept), accuracy=accuracy, chance=level)


def beats(name: str, scored: Scored, attack: str, other: str) -> Check:
    """Per question: `other` turns no more than TOLERANCE of those that survive `attack`."""
    under = counted(scored.outcomes[other])
    arm = {i: ok for i, ok in _survived(scored, attack).items() if i in under}
    if not arm:
        return not_run(name, f"no question has answers clean, under {attack} and under {other}")
    escaped = [i for i, survived in arm.items() if survived and not is_correct(under[i])]
    numbers = {"n": len(arm), "turned_by_attack": sum(not ok for ok in arm.values()), "only_by_other": len(escaped)}
    return _judged(name, len(escaped) <= TOLERANCE * len(arm), **numbers, other=other)


def effort(scored: Scored, attack: str, harder: Sequence[str]) -> Check:
    """No variant with more steps or restarts lowers accuracy by more than TOLERANCE. `p`: exact McNemar."""
    passed, numbers = True, dict[str, float | int | str | None](accuracy=_accuracy(scored, attack))
    for key in harder:
        pairs = both(scored.outcomes[attack], scored.outcomes[key])
        if not pairs:
            return not_run("effort", f"no question has answers under {attack} and {key}")
        lost = sum(is_correct(a) and not is_correct(b) for _, a, b in pairs)
        won = sum(is_correct(b) and not is_correct(a) for _, a, b in pairs)
        passed &= (lost - won) / len(pairs) <= TOLERANCE
        numbers |= {key: _accuracy(scored, key), f"{key}: p": mcnemar_p(lost, won)}
    return _judged("effort", passed, **numbers)


def optimised(scored: Scored, zero: str, attack: str, doubled: str) -> Check:
    """Median over the survivors of both: (loss doubled - loss) / (loss doubled - loss clean) is at most GAIN.

    `zero`, the attack at eps = 0, tells the clean loss. Nothing is left to optimise where nothing survives.
    """
    survivors = [
        i
        for i, survived in _survived(scored, attack).items()
        if survived and _right(scored, doubled, i) and i in scored.responses[zero]
    ]
    gains = []
    for item_id in survivors:
        clean, once, twice = (_info(scored, key, item_id, "loss") for key in (zero, attack, doubled))
        if clean is not None and once is not None and twice is not None and twice > clean:
            gains.append(max(0.0, twice - once) / (twice - clean))
    if survivors and not gains:
        return not_run("optimised", "the attack tells no loss, or it never rose")
    gain = median(gains) if gains else 0.0
    return _judged("optimised", gain <= GAIN, survivors=len(survivors), median_gain=gain)


def gradients(scored: Scored, attack: str) -> Check:
    """No survivor met a gradient that is exactly zero or not finite, and each was searched at all."""
    survivors = [i for i, survived in _survived(scored, attack).items() if survived]
    replies = scored.responses[attack].values()
    steps = sum(r.info.get("backwards", 0.0) for r in replies)
    if not steps:
        return _judged("gradients", False, survivors=len(survivors), steps=0)
    zero = sum(r.info.get("zero_gradients", 0.0) for r in replies)
    hidden = sum(bool(_info(scored, attack, i, "zero_gradients")) for i in survivors)
    broken = sum(bool(_info(scored, attack, i, "nan")) for i in survivors)
    unsearched = sum(not _info(scored, attack, i, "backwards") for i in survivors)
    numbers = {"survivors": len(survivors), "survivors_with_zero_gradient": hidden, "survivors_not_finite": broken}
    passed = not hidden and not broken and not unsearched
    return _judged("gradients", passed, **numbers, survivors_not_searched=unsearched, zero_share_of_steps=zero / steps)


def silent_success(scored: Scored, attacks: Sequence[str]) -> Check:
    """The attack says it has turned the answer, the decoded answer is right: at most TOLERANCE of the answers."""
    claimed = lost = n = 0
    for key in attacks:
        for item_id, outcome in counted(scored.outcomes[key]).items():
            info = scored.responses[key][item_id].info
            says = info.get("decoded_success", info.get("success"))
            n += 1
            claimed += bool(says)
            lost += bool(says) and is_correct(outcome)
    if not n:
        return not_run("silent_success", "no answer under the attack")
    return _judged("silent_success", lost <= TOLERANCE * n, n=n, claimed=claimed, lost=lost)


def judged_path(margins: Sequence[tuple[float, float]]) -> Check:
    """margins: (differentiable path, stock path) in nats, per attacked image. Both choose alike but for TOLERANCE."""
    if not margins:
        return not_run("judged_path", "no attacked image")
    apart = sum((a > 0) != (b > 0) for a, b in margins)
    largest = max(abs(a - b) for a, b in margins)
    return _judged("judged_path", apart <= TOLERANCE * len(margins), n=len(margins), apart=apart, largest_nats=largest)


def smooth(losses: Sequence[float], changes: Sequence[float]) -> Check:
    """losses: per clean image; changes: mean absolute change of each under noise. Ratio of the means at most ROUGH.

    Of the means, not the mean of the ratios: a margin close to 0 would decide alone.
    """
    size = sum(map(abs, losses))
    if not losses or not math.isfinite(size) or not size:
        return not_run("smooth", "the loss is zero or not finite on the clean images")
    ratio = sum(changes) / size
    return _judged("smooth", ratio <= ROUGH, n=len(losses), relative_change=ratio)


def precision(scored: Scored, attack: str, replayed: str, run_in: str, other: str) -> Check:
    """Of the questions the attack turns, those right again in the other precision are at most TOLERANCE of all."""
    under = counted(scored.outcomes[replayed])
    arm = {i: ok for i, ok in _survived(scored, attack).items() if i in under}
    if not arm:
        return not_run("precision", "no attacked image was answered in the other precision")
    lost = sum(not survived and is_correct(under[i]) for i, survived in arm.items())
    numbers = {"n": len(arm), "turned": sum(not ok for ok in arm.values()), "right_again": lost}
    return _judged("precision", lost <= TOLERANCE * len(arm), **numbers, run_in=run_in, other=other)


def planted(found: int, by_chance: int, n: int) -> Check:
    """found: questions where the attack reached a planted adversary; by_chance: where as many random images did."""
    if n == 0 or by_chance > BY_CHANCE * n:
        reason = "nothing was planted" if n == 0 else f"random images find {by_chance} of {n}: it proves nothing"
        return not_run("planted", reason)
    return _judged("planted", found >= PLANTED * n, n=n, found=found, found_by_random_images=by_chance)


def _survived(scored: Scored, attack: str) -> dict[str, bool]:
    """Of the questions right clean: is the model right under the attack?"""
    pairs = both(scored.outcomes[CLEAN], scored.outcomes[attack])
    return {i: is_correct(after) for i, before, after in pairs if is_correct(before)}


def _right(scored: Scored, key: str, item_id: str) -> bool:
    outcome = scored.outcomes[key].get(item_id)
    return outcome is not None and is_correct(outcome)


def _info(scored: Scored, key: str, item_id: str, name: str) -> float | None:
    return scored.responses[key][item_id].info.get(name)


def _accuracy(scored: Scored, key: str) -> float | None:
    kept = counted(scored.outcomes[key])
    return sum(map(is_correct, kept.values())) / len(kept) if kept else None
