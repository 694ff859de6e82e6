"""What all gradient attacks in a ball share: everything but the rule that makes the next step.

The model is only ever shown 8-bit images of the ball: each iterate is finished first, and the gradient taken there
moves the float iterate (straight through the rounding). One forward and backward pass a step thus both moves the
attack and judges a picture that can be saved, and no success is lost on the way to the file.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from medproof.attacks.objective import Score
from medproof.attacks.result import AttackResult, Tracker
from medproof.attacks.threat import ThreatModel, levels
from medproof.seeds import derive_seed


@dataclass
class Bucket:
    """Examples of one shape, stacked, with their places in the caller's list."""

    indices: list[int]
    clean: Tensor  # [B, 3, H, W]
    iterate: Tensor  # [B, 3, H, W] float32, in the ball
    shown: Tensor  # [B, 3, H, W] the 8-bit image of the iterate
    allowed: Tensor | None  # [B, 1, H, W] bool, the pixels that may change
    start: Tensor = field(init=False)  # [B, 3, H, W] int32, the grey levels of `clean`

    def __post_init__(self) -> None:
        self.start = levels(self.clean)

    def keep(self, rows: list[int]) -> None:
        """Drop all other examples; no copy when none leaves."""
        if len(rows) == len(self.indices):
            return
        self.indices = [self.indices[row] for row in rows]
        self.clean, self.iterate, self.shown, self.start = (
            tensor[rows] for tensor in (self.clean, self.iterate, self.shown, self.start)
        )
        self.allowed = None if self.allowed is None else self.allowed[rows]


class Mover(Protocol):
    """The rule of an attack for one bucket in one run. What it remembers, it remembers row by row."""

    def keep(self, rows: list[int]) -> None:
        """Forget all other rows. Called when examples leave the bucket."""

    def move(self, bucket: Bucket, gradient: Tensor, loss: Tensor, step: int) -> Tensor:
        """The next iterates [B, 3, H, W], in the ball. gradient: [B, 3, H, W] at the shown images; loss: [B]."""


def ascend(
    score: Score,
    images: Sequence[Tensor],
    threat: ThreatModel,
    mover: Callable[[], Mover],
    *,
    steps: int,
    seeds: Sequence[int],
    restarts: int,
    starts: Sequence[Tensor] | None,
    allowed: Sequence[Tensor] | None,
    enough: float,
) -> AttackResult:
    """Run `mover` from random points of the ball; arguments, cost and errors as in `pgd`."""
    if steps < 1 or restarts < 1:
        raise ValueError(f"steps and restarts are at least 1, not {steps} and {restarts}")
    if starts is not None and len(starts) != len(images):
        raise ValueError(f"{len(images)} images need as many starts")
    tracker = Tracker(images)
    movable = check(images, threat, allowed, seeds)
    evaluate(score, buckets_of(images, range(len(images))), tracker, gradient=False)
    for restart in range(restarts):
        # The first run also strengthens what is wrong already; restarts take only those that no run has fooled.
        todo = [i for i in movable if tracker.goes_on(i, enough) and not (restart and tracker.success[i])]
        begin = {}
        for i in todo:
            seed, own = derive_seed(seeds[i], str(restart), "start"), None if allowed is None else allowed[i]
            given = starts[i] if starts is not None and restart == 0 else None
            begin[i] = threat.random_start(images[i], seed, own) if given is None else _only(given, images[i], own)
            tracker.restarts_used[i] += 1
        _run(score, buckets_of(images, todo, begin, allowed), tracker, threat, mover, steps, enough)
    return tracker.result()


def check(
    images: Sequence[Tensor],
    threat: ThreatModel,
    allowed: Sequence[Tensor] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[int]:
    """Refuse images that are not 8-bit and seeds and masks that do not fit, with a ValueError; return the examples that
    can move.

    Where eps is below one grey level, or no pixel may change, the clean image is all there is.
    """
    if seeds is not None and len(seeds) != len(images):
        raise ValueError(f"{len(images)} images need as many seeds")
    for image in images:
        levels(image)
    if allowed is not None:
        if len(allowed) != len(images):
            raise ValueError(f"{len(images)} images need as many masks, not {len(allowed)}")
        for mask, image in zip(allowed, images):
            if mask.dtype != torch.bool or mask.shape != image.shape[1:]:
                raise ValueError(f"a mask is bool (H, W) as its image, not {mask.dtype} {tuple(mask.shape)}")
    if threat.budget == 0:
        return []
    return [i for i in range(len(images)) if allowed is None or bool(allowed[i].any())]


def by_shape(images: Sequence[Tensor], indices: Iterable[int]) -> list[list[int]]:
    """The indices in groups whose images have one shape."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    for i in indices:
        shapes.setdefault(tuple(images[i].shape), []).append(i)
    return list(shapes.values())


def buckets_of(
    images: Sequence[Tensor],
    indices: Iterable[int],
    begin: Mapping[int, Tensor] | None = None,
    allowed: Sequence[Tensor] | None = None,
) -> list[Bucket]:
    """Buckets of the examples, which start from `begin`, or else from the clean images."""
    buckets = []
    for group in by_shape(images, indices):
        clean = torch.stack([images[i] for i in group]).float()
        iterate = clean if begin is None else torch.stack([begin[i] for i in group]).to(clean)
        mask = None if allowed is None else torch.stack([allowed[i] for i in group])[:, None].to(clean.device)
        buckets.append(Bucket(group, clean, iterate, clean, mask))
    return buckets


def evaluate(
    score: Score, buckets: Sequence[Bucket], tracker: Tracker, *, gradient: bool
) -> list[tuple[Tensor, Tensor]]:
    """Score what is shown, offer it to the tracker; with `gradient`, return d loss / d pixels and loss per bucket.

    Where a pixel may not change, its gradient is zero.
    """
    if not buckets:
        return []
    leaves = [bucket.shown.detach().requires_grad_(gradient) for bucket in buckets]
    indices = [i for bucket in buckets for i in bucket.indices]
    with torch.set_grad_enabled(gradient):
        loss = tracker.ask(score, [row for leaf in leaves for row in leaf.unbind(0)], indices)
    if not gradient:
        return []
    gradients = _gradients(loss, leaves, buckets, tracker)
    losses = torch.split(loss.detach().float(), [len(bucket.indices) for bucket in buckets])
    return list(zip(gradients, losses))


def _gradients(loss: Tensor, leaves: list[Tensor], buckets: Sequence[Bucket], tracker: Tracker) -> list[Tensor]:
    """Gradients of the summed loss; weights never get a .grad. A loss blind to its pixels has gradient zero."""
    found: Sequence[Tensor | None] = [None] * len(leaves)
    if loss.requires_grad:
        found = torch.autograd.grad(loss.sum(), leaves, allow_unused=True)
    gradients = [torch.zeros_like(leaf) if g is None else g.float() for g, leaf in zip(found, leaves)]
    for place, bucket in enumerate(buckets):
        if bucket.allowed is not None:
            gradients[place] = torch.where(bucket.allowed, gradients[place], 0)
        largest = gradients[place].flatten(1).abs().amax(1).tolist()  # NaN where there is one
        for row, i in enumerate(bucket.indices):
            tracker.backwards[i] += 1
            tracker.zero_gradients[i] += int(largest[row] == 0)
            tracker.broken[i] |= not math.isfinite(largest[row])
    return gradients


def _run(
    score: Score,
    buckets: list[Bucket],
    tracker: Tracker,
    threat: ThreatModel,
    mover: Callable[[], Mover],
    steps: int,
    enough: float,
) -> None:
    """One run: `steps` moves, every image on the way offered to the tracker, the last one included."""
    pairs = [(bucket, mover()) for bucket in buckets]
    for step in range(steps + 1):
        for bucket, _ in pairs:
            bucket.shown = threat.finish(bucket.iterate, bucket.clean, bucket.start)
        last = step == steps
        answers = evaluate(score, [bucket for bucket, _ in pairs], tracker, gradient=not last)
        if last:
            return
        for (bucket, rule), (gradient, loss) in zip(pairs, answers):
            rows = [row for row, i in enumerate(bucket.indices) if tracker.goes_on(i, enough)]
            if len(rows) < len(bucket.indices):
                bucket.keep(rows)
                rule.keep(rows)
                gradient, loss = gradient[rows], loss[rows]
            if rows:
                bucket.iterate = rule.move(bucket, gradient, loss, step)
        pairs = [(bucket, rule) for bucket, rule in pairs if bucket.indices]


def _only(start: Tensor, clean: Tensor, allowed: Tensor | None) -> Tensor:
    return start if allowed is None else torch.where(allowed.to(clean.device), start, clean)
