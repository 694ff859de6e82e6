"""What an attack in a ball drives at, by name, and how what it found is judged.

The slot is where the model's own reply has its answer letter: it opens the reply, or in `think` mode follows the
rationale that the model wrote for the clean image.

| objective  | raises                                                            | judged by             |
|------------|-------------------------------------------------------------------|-----------------------|
| margin     | best wrong option - right one, at the slot                        | slot; think: reply    |
| answer     | -log p of the right answer's text, from the slot on               | slot; think: reply    |
| targeted   | one wrong option - right one, at the slot, for each in turn       | slot; think: reply    |
| opening    | as margin, but always where the reply opens: no reasoning         | slot; think: reply    |
| rationale  | as margin, behind the rationale of the clean image                | reply                 |
| refreshed  | as margin, behind rationales written anew every m steps           | reply, on the way too |
| sampled    | mean margin behind rationales sampled anew every m steps          | reply                 |
| stop       | log p of a reply that skips thinking and answers wrongly          | reply                 |
| encoder    | distance of the visual tokens from those of the clean image       | reply                 |

In `think` mode margin, answer and targeted are tried once more where the reply is still right: behind the rationale of
that reply, from the image found. In the other modes a reply holds no rationale before its answer, and rationale,
refreshed and sampled come down to the margin behind whatever the model writes there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from medproof.attacks import OptionScore, ThreatModel
from medproof.attacks.objective import Score
from medproof.attacks.search import Search
from medproof.attacks.smoothed import SmoothedScore
from medproof.attacks.targeted import targeted
from medproof.attacks.vlm import EncoderScore, RationaleScore, StopScore, TargetedSweep
from medproof.conditions.attacked import Batch, Found, found
from medproof.models.prompts import answer_prefix
from medproof.models.protocol import Objective

ENOUGH = 2.0
"""Nats of option margin at which an attack may stop early: a lead that survives another batch size and bf16. Not for
losses that tell no lead, and not behind a rationale, where the margin is a stand-in for the reply."""
_SURE = math.log(0.9)
"""Log-probability of a whole wrong reply at which the attack on reasoning may stop early."""

_AT_SLOT = ("margin", "answer", "targeted", "opening")
"""Where the answer opens the reply, their forced choice is the verdict."""
_TWICE = ("margin", "answer", "targeted")


@dataclass(frozen=True)
class Aim:
    """An objective with its settings.

    every: calls of the score between two rationales. draws: rationales sampled, or noisy copies. sigma: of the noise
    through which the score is asked (`SmoothedScore`), in [0, 1] pixels; 0 for none.
    prefixes: replies before the slot, one per view; None: see the module.
    """

    objective: str
    every: int = 5
    draws: int = 4
    sigma: float = 0.0
    prefixes: Sequence[str] | None = None


def attack_and_judge(batch: Batch, aim: Aim, search: Search, threat: ThreatModel) -> list[Found]:
    """Attack every view, ask for replies where the objective needs them, try again where that is said above."""
    results = attack(batch, batch.everyone, aim, search, threat)
    if aim.objective in _AT_SLOT and not batch.reasons:
        return results
    replies = batch.judge(batch.everyone, results)
    if batch.reasons and aim.objective in _TWICE:
        _again(batch, aim, search, threat, results, replies)
    batch.keep_clean_if_wrong(results)
    return results


def _again(
    batch: Batch, aim: Aim, search: Search, threat: ThreatModel, results: list[Found], replies: Sequence[str]
) -> None:
    """Where the reply is still right, go on behind its rationale; keep the second image if the reply to it is wrong."""
    right = [i for i in batch.everyone if not results[i].decoded_success]
    for result in results:
        result.refreshed = not result.decoded_success
    if not right:
        return
    aim = replace(aim, prefixes=[answer_prefix(replies[i]) for i in right])
    second = attack(batch, right, aim, search, threat, starts=[results[i].image for i in right])
    batch.judge(right, second)
    for i, other in zip(right, second, strict=True):
        kept, dropped = (other, results[i]) if other.decoded_success else (results[i], other)
        kept.add_cost(dropped)
        kept.refreshed = True
        results[i] = kept


def attack(
    batch: Batch,
    which: Sequence[int],
    aim: Aim,
    search: Search,
    threat: ThreatModel,
    *,
    purpose: str = "",
    starts: Sequence[Tensor] | None = None,
) -> list[Found]:
    """Attack the views `which`; no reply is judged. purpose: of the seeds. starts: images to begin from."""
    seeds = batch.seeds(which, purpose)
    if aim.objective == "targeted":
        return _sweep(batch, which, aim, search, threat, seeds)
    score = score_of(batch, which, aim)
    result = search(
        score,
        batch.take(which)[1],
        threat,
        seeds=seeds,
        allowed=batch.allowed(which),
        starts=None if starts is None else [start.to(batch.device) for start in starts],
        enough=_enough(batch, aim),
    )
    if isinstance(score, RationaleScore):
        batch.reader.adopt(score.reader, which)
    return found(result, score)


def score_of(batch: Batch, which: Sequence[int], aim: Aim) -> Score:
    """The score of any objective but `targeted`."""
    views, clean = batch.take(which)
    match aim.objective:
        case "refreshed" | "sampled":
            draws = aim.draws if aim.objective == "sampled" else 0
            return RationaleScore(batch.model, batch.reader.part(which), draws=draws, every=aim.every)
        case "stop":
            return StopScore(batch.model, views, clean)
        case "encoder":
            return EncoderScore(batch.model, clean)
    kind: Objective = "answer" if aim.objective == "answer" else "margin"
    prefixes = None if aim.objective == "opening" else _prefixes(batch, which, aim)
    score = OptionScore(batch.model, views, kind, prefixes)
    if not aim.sigma:
        return score
    return SmoothedScore(score, sigma=aim.sigma, draws=aim.draws, seeds=batch.seeds(which, "smoothing"))


def _sweep(
    batch: Batch, which: Sequence[int], aim: Aim, search: Search, threat: ThreatModel, seeds: Sequence[int]
) -> list[Found]:
    """`search` towards each wrong option in turn, on the views that none before has fooled."""
    views, clean = batch.take(which)
    sweep = TargetedSweep(batch.model, views, clean, _prefixes(batch, which, aim))
    attack = partial(search, enough=_enough(batch, aim))
    allowed = batch.allowed(which)
    result = targeted(sweep.score_for, sweep.wrong, attack, clean, threat, seeds=seeds, allowed=allowed)
    return found(result, sweep)


def _prefixes(batch: Batch, which: Sequence[int], aim: Aim) -> Sequence[str] | None:
    return batch.prefixes(which) if aim.prefixes is None else aim.prefixes


def _enough(batch: Batch, aim: Aim) -> float:
    """The loss at which a search may leave an adversarial example."""
    if aim.objective == "refreshed":
        return -math.inf  # adversarial is the truth there
    if aim.objective == "stop":
        return _SURE
    sure = aim.objective in ("margin", "targeted", "opening", "rationale") and not (batch.reasons or aim.sigma)
    return ENOUGH if sure else math.inf
