"""The fast gradient sign method (Goodfellow et al. 2015, arXiv:1412.6572): one step of length eps."""

from collections.abc import Sequence

from torch import Tensor

from medproof.attacks.ascent import buckets_of, check, evaluate
from medproof.attacks.objective import Score
from medproof.attacks.result import AttackResult, Tracker
from medproof.attacks.threat import ThreatModel


def fgsm(
    score: Score, images: Sequence[Tensor], threat: ThreatModel, *, allowed: Sequence[Tensor] | None = None
) -> AttackResult:
    """One step from each clean image to the border of the ball, up the steepest slope of the norm; no randomness.

    images, allowed and errors as in `pgd`. The clean image is the first candidate here too. Cost per example: 1
    forward-backward pair and 1 forward; 1 forward where nothing can move.
    """
    tracker = Tracker(images)
    movable = check(images, threat, allowed)
    still = sorted(set(range(len(images))) - set(movable))
    evaluate(score, buckets_of(images, still), tracker, gradient=False)
    buckets = buckets_of(images, movable, allowed=allowed)
    for i in movable:
        tracker.restarts_used[i] = 1
    answers = evaluate(score, buckets, tracker, gradient=True)
    for bucket, (gradient, _) in zip(buckets, answers):
        rows = [row for row, i in enumerate(bucket.indices) if not tracker.broken[i]]
        bucket.keep(rows)
        stepped = bucket.clean + float(threat.eps) * threat.direction(gradient[rows])
        bucket.shown = threat.finish(stepped, bucket.clean)
    evaluate(score, [bucket for bucket in buckets if bucket.indices], tracker, gradient=False)
    return tracker.result()
