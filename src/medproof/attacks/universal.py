"""One perturbation for a whole set of images (Moosavi-Dezfooli et al. 2017, arXiv:1610.08401).

Found by stochastic gradient ascent on the mean loss of minibatches, each loss clipped from above so that a few images
cannot take over (Shafahi et al. 2020, arXiv:1811.11304). Fit it on one set and apply it to another: what it does there
shows a direction in which the model is weak as such.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from medproof.attacks.ascent import Bucket, buckets_of, check, evaluate
from medproof.attacks.objective import Score
from medproof.attacks.result import AttackResult, Tracker
from medproof.attacks.step_rules import cosine
from medproof.attacks.threat import WHITE, ThreatModel
from medproof.seeds import rng


def universal(
    score: Score,
    images: Sequence[Tensor],
    threat: ThreatModel,
    *,
    steps: int,
    seed: int,
    batch: int = 32,
    enough: float = math.inf,
) -> tuple[Tensor, AttackResult]:
    """Fit a perturbation on `images`; return its grey levels, int32 (3, H, W), and what it does to these images.

    images: 8-bit (3, H, W) in [0, 1], any shapes. The perturbation has the first one's shape; for others it is resized
        (bilinear) and brought into the ball of that image.
    batch: images of a step; each pass over the set is in a fresh random order of `seed`. The perturbation depends on
        the whole set and its order.
    enough: an image whose loss is at least this has no say in the step: the clipping.
    Result as in `apply_universal`; its costs include the fit's, one forward-backward pair each time an image is drawn.
    Raises ValueError for no images, or images that are not 8-bit.
    """
    if steps < 1 or batch < 1:
        raise ValueError(f"steps and batch are at least 1, not {steps} and {batch}")
    if not images:
        raise ValueError("a universal perturbation needs images to be fitted on")
    check(images, threat)
    fit = Tracker(images)
    delta = torch.zeros_like(images[0], dtype=torch.float32)  # [0, 1] pixels
    order: list[int] = []
    for step in range(steps if threat.budget else 0):
        while len(order) < min(batch, len(images)):
            order += rng(seed, str(step), "universal").permutation(len(images)).tolist()
        chosen, order = order[:batch], order[batch:]
        buckets = _shown(images, chosen, delta, threat)
        total = torch.zeros_like(delta)
        for gradient, loss in evaluate(score, buckets, fit, gradient=True):
            finite = gradient.isfinite().flatten(1).all(1) & loss.isfinite()
            heard = (finite & (loss < enough)).view(-1, 1, 1, 1)
            total = total + _pull_back(torch.where(heard, gradient, 0).sum(0), delta)
        moved = delta + cosine(float(threat.eps), step, steps) * threat.direction(total[None])[0]
        delta = _into_ball(moved, threat)
    grey = threat.finish_delta(delta.double() * WHITE).cpu()
    return grey, _judge(score, images, threat, grey, fit)


def apply_universal(score: Score, images: Sequence[Tensor], threat: ThreatModel, grey: Tensor) -> AttackResult:
    """Add a perturbation of grey levels to each image, inside its ball, and judge it.

    Unlike the other attacks it returns the perturbed image even where the clean one is worse: nothing is chosen per
    image. Cost per example: 1 forward.
    """
    check(images, threat)
    return _judge(score, images, threat, grey, Tracker(images))


def _judge(score: Score, images: Sequence[Tensor], threat: ThreatModel, grey: Tensor, tracker: Tracker) -> AttackResult:
    """The result for the images under `grey`; of the tracker only the costs count."""
    tracker.loss, tracker.success = [-math.inf] * len(images), [False] * len(images)
    buckets = _shown(images, range(len(images)), grey.float() / WHITE, threat)
    evaluate(score, buckets, tracker, gradient=False)
    for bucket in buckets:
        for row, i in enumerate(bucket.indices):
            tracker.images[i] = bucket.shown[row]  # also where its loss is NaN
    return tracker.result()


def _shown(images: Sequence[Tensor], chosen: Sequence[int], delta: Tensor, threat: ThreatModel) -> list[Bucket]:
    """Buckets of the chosen images that show them under `delta`."""
    buckets = buckets_of(images, chosen)
    for bucket in buckets:
        moved = _resized(delta.to(bucket.clean.device), bucket.clean.shape[2:])
        bucket.shown = threat.finish(bucket.clean + moved, bucket.clean)
    return buckets


def _resized(delta: Tensor, size: torch.Size) -> Tensor:
    if delta.shape[1:] == size:
        return delta
    return functional.interpolate(delta[None], size=tuple(size), mode="bilinear", align_corners=False)[0]


def _pull_back(gradient: Tensor, delta: Tensor) -> Tensor:
    """Gradient at a resized perturbation, as gradient at `delta`: the resizing is linear."""
    if gradient.shape == delta.shape:
        return gradient
    leaf = delta.detach().requires_grad_()
    return torch.autograd.grad(_resized(leaf, gradient.shape[1:]), leaf, gradient)[0]


def _into_ball(delta: Tensor, threat: ThreatModel) -> Tensor:
    eps = float(threat.eps)
    if threat.norm == "linf":
        return delta.clamp(-eps, eps)
    return delta * min(1.0, eps / max(float(delta.double().norm()), torch.finfo(torch.float64).tiny))
