"""Projected gradient descent on 8-bit images (Madry et al. 2018, arXiv:1706.06083), for images of any shapes.

The model is only ever shown 8-bit images of the ball: each iterate is finished first, and the gradient taken there
moves the float iterate (straight through the rounding). One forward and backward pass a step thus both moves the
attack and judges a picture that can be saved, and no success is lost on the way to the file.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medproof.attacks.objective import Score
from medproof.attacks.result import AttackResult, Tracker
from medproof.attacks.threat import ThreatModel, levels
from medproof.seeds import derive_seed


def step_size(eps: float, step: int, steps: int) -> float:
    """Length of step `step` (0-based) of `steps`: falls from 2 eps to nearly 0 along a cosine.

    Large moves cross flat regions, small ones settle. docs/threat_model.md says what it was compared with.
    """
    return eps * (1 + math.cos(math.pi * step / steps))


def pgd(
    score: Score,
    images: Sequence[Tensor],
    threat: ThreatModel,
    *,
    steps: int,
    seeds: Sequence[int],
    restarts: int = 1,
    starts: Sequence[Tensor] | None = None,
    enough: float = math.inf,
) -> AttackResult:
    """Search the ball around each image for one with the highest loss.

    images: 8-bit (3, H, W) in [0, 1], any shapes, on the device of the model. Never written.
    seeds: one per example. The result for an example depends on its image, its seed and the score alone; where the
        score itself is independent of the batch, so is the result, bit for bit.
    restarts: each begins at a fresh random point of the ball and runs only on examples not yet adversarial.
    starts: float images to begin the first restart from instead.
    enough: an example that is adversarial with at least this loss leaves its restart early.
    The clean image is the first candidate, so the loss never falls below the clean one and eps = 0 returns the clean
    image. Cost per example: 1 forward, and per restart `steps` forward-backward pairs and 1 forward.

    Raises ValueError for images that are not 8-bit, or lists of unequal length. Errors of the score pass through.
    """
    if steps < 1 or restarts < 1:
        raise ValueError(f"steps and restarts are at least 1, not {steps} and {restarts}")
    if len(seeds) != len(images) or (starts is not None and len(starts) != len(images)):
        raise ValueError(f"{len(images)} images need as many seeds and starts")
    for image in images:
        levels(image)
    tracker = Tracker(images)
    everyone = [_Bucket.of(images, images, indices) for indices in _by_shape(images, range(len(images)))]
    _evaluate(score, everyone, tracker, gradient=False)
    if threat.eps == 0:
        return tracker.result()
    for restart in range(restarts):
        todo = [i for i in range(len(images)) if not _finished(tracker, i, enough, first=restart == 0)]
        begin = {i: _start(images[i], threat, seeds[i], restart, None if starts is None else starts[i]) for i in todo}
        buckets = [_Bucket.of(images, begin, indices) for indices in _by_shape(images, todo)]
        for i in todo:
            tracker.restarts_used[i] += 1
        _run(score, buckets, tracker, threat, steps, enough)
    return tracker.result()


def _finished(tracker: Tracker, index: int, enough: float, *, first: bool) -> bool:
    """The first run also strengthens what is wrong already; restarts take only those that no run has fooled."""
    success = tracker.success[index] and (not first or tracker.loss[index] >= enough)
    return success or tracker.broken[index]


def _start(clean: Tensor, threat: ThreatModel, seed: int, restart: int, given: Tensor | None) -> Tensor:
    if restart == 0 and given is not None:
        return given
    return threat.random_start(clean, derive_seed(seed, str(restart), "start"))


@dataclass
class _Bucket:
    """Examples of one shape, stacked, with their places in the caller's list."""

    indices: list[int]
    clean: Tensor  # [B, 3, H, W]
    iterate: Tensor  # [B, 3, H, W] float32, in the ball
    shown: Tensor  # [B, 3, H, W] the 8-bit image of the iterate

    @classmethod
    def of(cls, clean: Sequence[Tensor], begin: Sequence[Tensor] | dict[int, Tensor], indices: list[int]) -> "_Bucket":
        stacked = torch.stack([clean[i] for i in indices]).float()
        iterate = torch.stack([begin[i] for i in indices]).to(stacked)
        return cls(indices, stacked, iterate, stacked)

    def keep(self, rows: list[int]) -> None:
        """Drop all other examples; no copy when none leaves."""
        if len(rows) == len(self.indices):
            return
        self.indices = [self.indices[row] for row in rows]
        self.clean, self.iterate, self.shown = (tensor[rows] for tensor in (self.clean, self.iterate, self.shown))

    def advance(self, gradient: Tensor, threat: ThreatModel, size: float) -> None:
        """One projected step of length `size` along the gradient."""
        self.iterate = threat.project(self.iterate + size * threat.direction(gradient), self.clean)


def _by_shape(images: Sequence[Tensor], indices: Sequence[int] | range) -> list[list[int]]:
    shapes: dict[tuple[int, ...], list[int]] = {}
    for i in indices:
        shapes.setdefault(tuple(images[i].shape), []).append(i)
    return list(shapes.values())


def _run(
    score: Score,
    buckets: list[_Bucket],
    tracker: Tracker,
    threat: ThreatModel,
    steps: int,
    enough: float,
) -> None:
    """One restart: `steps` moves, every image on the way offered to the tracker, the last one included."""
    for step in range(steps + 1):
        for bucket in buckets:
            bucket.shown = threat.finish(bucket.iterate, bucket.clean)
        last = step == steps
        gradients = _evaluate(score, buckets, tracker, gradient=not last)
        if last:
            return
        for bucket, gradient in zip(buckets, gradients):
            rows = [row for row, i in enumerate(bucket.indices) if _goes_on(tracker, i, enough)]
            bucket.keep(rows)
            if rows:
                bucket.advance(gradient[rows], threat, step_size(float(threat.eps), step, steps))
        buckets = [bucket for bucket in buckets if bucket.indices]
        if not buckets:
            return


def _goes_on(tracker: Tracker, index: int, enough: float) -> bool:
    return not tracker.broken[index] and not (tracker.success[index] and tracker.loss[index] >= enough)


def _evaluate(score: Score, buckets: list[_Bucket], tracker: Tracker, *, gradient: bool) -> list[Tensor]:
    """Score what is shown, offer it to the tracker; with `gradient`, return d loss / d pixels per bucket."""
    if not buckets:
        return []
    leaves = [bucket.shown.detach().requires_grad_(gradient) for bucket in buckets]
    indices = [i for bucket in buckets for i in bucket.indices]
    pixels = [row for leaf in leaves for row in leaf.unbind(0)]
    with torch.set_grad_enabled(gradient):
        loss, adversarial = score(pixels, indices)
    if loss.shape != (len(indices),) or adversarial.shape != (len(indices),):
        raise ValueError(f"the score of {len(indices)} images has shapes {loss.shape} and {adversarial.shape}")
    values, verdicts = loss.detach().float().tolist(), adversarial.tolist()
    for i, image, value, verdict in zip(indices, pixels, values, verdicts):
        tracker.forwards[i] += 1
        tracker.offer(i, image, value, verdict)
    return _gradients(loss, leaves, buckets, tracker) if gradient else []


def _gradients(loss: Tensor, leaves: list[Tensor], buckets: list[_Bucket], tracker: Tracker) -> list[Tensor]:
    """Gradients of the summed loss; weights never get a .grad. A loss blind to its pixels has gradient zero."""
    found: Sequence[Tensor | None] = [None] * len(leaves)
    if loss.requires_grad:
        found = torch.autograd.grad(loss.sum(), leaves, allow_unused=True)
    gradients = [torch.zeros_like(leaf) if g is None else g.float() for g, leaf in zip(found, leaves)]
    for bucket, gradient in zip(buckets, gradients):
        finite = gradient.isfinite().flatten(1).all(1).tolist()
        zero = (gradient == 0).flatten(1).all(1).tolist()
        for row, i in enumerate(bucket.indices):
            tracker.backwards[i] += 1
            tracker.zero_gradients[i] += int(zero[row])
            tracker.broken[i] |= not finite[row]
    return gradients
