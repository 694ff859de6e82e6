"""Targeted sweep: steer to each wrong class in turn, the closest first.

An untargeted loss follows the class that leads at the moment and can commit to one that cannot be reached; steering to
each finds those that it passes by (Gowal et al. 2019, arXiv:1910.09338; Croce & Hein 2020, arXiv:2003.01690).
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from medproof.attacks.losses import without
from medproof.attacks.objective import Score
from medproof.attacks.result import AttackResult, Tracker
from medproof.attacks.search import Search
from medproof.attacks.threat import ThreatModel
from medproof.seeds import derive_seed


def targeted(
    score_for: Callable[[int], Score],
    wrong: Sequence[int],
    attack: Search,
    images: Sequence[Tensor],
    threat: ThreatModel,
    *,
    seeds: Sequence[int],
    allowed: Sequence[Tensor] | None = None,
) -> AttackResult:
    """Run `attack` with score_for(0), score_for(1), ... each on those that no one before has fooled.

    score_for(rank): a score that steers each example to its wrong class number `rank` in the caller's order, and calls
        adversarial whatever is wrong. Its losses should be comparable between ranks (a margin is): the best image of
        an example that was never fooled is the one with the highest.
    wrong: number of wrong classes of each example, so of its ranks.
    Cost per example: that of `attack`, once for each rank begun. Raises ValueError for lists of unequal length.
    """
    if len(seeds) != len(images) or len(wrong) != len(images):
        raise ValueError(f"{len(images)} images need as many seeds and numbers of wrong classes")
    tracker = Tracker(images)
    for rank in range(max(wrong, default=0)):
        todo = [i for i in tracker.survivors() if rank < wrong[i] and not tracker.broken[i]]
        if not todo:
            continue
        own = [derive_seed(seeds[i], str(rank), "target") for i in todo]
        masks = None if allowed is None else [allowed[i] for i in todo]
        result = attack(subset(score_for(rank), todo), [images[i] for i in todo], threat, seeds=own, allowed=masks)
        tracker.merge(result, todo)
    return tracker.result()


def closest_first(logits: Tensor, labels: Tensor) -> Tensor:
    """The wrong classes of each example, the highest logit first. logits: [B, K]; labels: [B]. Returns [B, K - 1]."""
    return without(logits, labels).sort(dim=1, descending=True, stable=True).indices[:, :-1]


def subset(score: Score, chosen: Sequence[int]) -> Score:
    """The score of some of the examples, renumbered from 0."""
    return lambda pixels, indices: score(pixels, [chosen[i] for i in indices])
