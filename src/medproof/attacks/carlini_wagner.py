"""The attack of Carlini & Wagner (2017, arXiv:1608.04644, section VI.A): the closest adversarial image in L2.

    minimise over w    |x - x0|^2 + c max(-loss(x), -kappa)    with x = (tanh w + 1) / 2

for each example by itself, with Adam, while c is searched for: the smallest one that still fools the model. Three
things differ from the paper. The objective takes any score, so log-probabilities serve as well as logits. The first c
is the one that a linear model needs, 2 |loss| / |gradient|^2, so no round is lost on a c that is wrong by orders of
magnitude. And steps shrink along a cosine, because the optimum lies in a kink of the objective.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medproof.attacks.ascent import Bucket, buckets_of, evaluate
from medproof.attacks.minimal import Bracket, Closest, MinimalResult, at_least, begin, finish_l2
from medproof.attacks.objective import Score
from medproof.attacks.threat import WHITE
from medproof.seeds import derive_seed

RATE = 0.2
"""Largest step of w. docs/attacks.md says what it was compared with."""
_EDGE = 0.5 / WHITE
"""Rounds begin at least half a grey level inside the box: at its border tanh is flat and a pixel would never move."""
_FIRST = 2.0
"""The first c, in units of what a linear model needs."""
_STRIDE = 4.0
"""First factor on c while it is bounded on one side only."""
_BETAS = (0.9, 0.999)
_TINY = 1e-12


def cw_l2(
    score: Score,
    images: Sequence[Tensor],
    *,
    steps: int,
    search_steps: int,
    seeds: Sequence[int],
    kappa: float = 0.0,
    limit: float = math.inf,
    rate: float = RATE,
) -> MinimalResult:
    """Search the closest 8-bit image that the score calls adversarial, for each image by itself.

    images: 8-bit (3, H, W) in [0, 1], any shapes, on the device of the model. Never written.
    search_steps: values of c tried; each is a round of `steps` forward-backward passes from next to the clean image.
    seeds: one per example. The result for an example depends on its image, its seed and the score alone; where the
        score itself is independent of the batch, so is the result, bit for bit.
    kappa: above 0, an image counts as adversarial only with at least this loss.
    limit: distances above it are of no interest. No image beyond it is returned, and an example that a round drove
        farther without fooling the model leaves the search.
    Cost per example: 1 + steps * search_steps forward-backward passes, and at most `minimal.FINISH_TRIES` forwards for
    the 8-bit finish. An image that is adversarial as it is costs one pass and has distance 0.

    Raises ValueError for images that are not 8-bit, or lists of unequal length. Errors of the score pass through.
    """
    if steps < 1 or search_steps < 1:
        raise ValueError(f"steps and search_steps are at least 1, not {steps} and {search_steps}")
    sure = score if kappa == 0 else at_least(score, kappa)
    closest, slopes = begin(sure, images, seeds)
    constants = {i: Bracket(_FIRST * 2 * loss / slope**2, _STRIDE) for i, (loss, slope) in slopes.items()}
    for turn in range(search_steps):
        starts = {i: _start(images[i], derive_seed(seeds[i], str(turn), "start")) for i in constants}
        fooled = _round(sure, buckets_of(images, constants, starts), constants, closest, steps, rate)
        for i in list(constants):
            constants[i].judge(i in fooled)
            if closest.broken[i] or (i not in fooled and closest.walked[i] > limit):
                del constants[i]
    return finish_l2(sure, closest, limit)


def _round(
    score: Score, buckets: list[Bucket], constants: dict[int, Bracket], closest: Closest, steps: int, rate: float
) -> set[int]:
    """One descent for every example with its present c. Returns those that it fooled on the way."""
    fooled: set[int] = set()
    pairs = [(bucket, _Adam(bucket)) for bucket in buckets]
    for step in range(steps):
        size = rate * (1 + math.cos(math.pi * step / steps)) / 2
        answers = evaluate(score, [bucket for bucket, _ in pairs], closest, gradient=True)
        for (bucket, adam), (gradient, _) in zip(pairs, answers):
            fooled.update(i for i in bucket.indices if closest.fooling[i])
            rows = [row for row, i in enumerate(bucket.indices) if not closest.broken[i]]
            if len(rows) < len(bucket.indices):
                bucket.keep(rows)
                adam.keep(rows)
            push = [0.0 if closest.fooling[i] else constants[i].value for i in bucket.indices]
            adam.move(bucket, torch.tensor(push).to(gradient).view(-1, 1, 1, 1), gradient[rows], size, step + 1)
        pairs = [(bucket, adam) for bucket, adam in pairs if bucket.indices]
    return fooled


class _Adam:
    """Descent in w of the examples of a bucket; all tensors [B, 3, H, W]."""

    def __init__(self, bucket: Bucket) -> None:
        self.w = torch.stack([torch.atanh(2 * start - 1) for start in bucket.iterate])
        self.mean, self.square = torch.zeros_like(self.w), torch.zeros_like(self.w)
        bucket.shown = bucket.iterate

    def keep(self, rows: list[int]) -> None:
        """Forget all other rows."""
        self.w, self.mean, self.square = (tensor[rows] for tensor in (self.w, self.mean, self.square))

    def move(self, bucket: Bucket, push: Tensor, gradient: Tensor, size: float, step: int) -> None:
        """Step `step`, from 1, on |x - x0|^2 - push * loss. gradient: of the loss at the images shown."""
        shown = bucket.shown
        in_pixels = 2 * (shown - bucket.clean) - push * gradient
        in_w = in_pixels * (2 * shown * (1 - shown))  # the slope of (tanh w + 1) / 2
        first, second = _BETAS
        self.mean = first * self.mean + (1 - first) * in_w
        self.square = second * self.square + (1 - second) * in_w * in_w
        mean, square = self.mean / (1 - first**step), self.square / (1 - second**step)
        self.w = self.w - size * mean / (square.sqrt() + _TINY)
        bucket.shown = (torch.tanh(self.w) + 1) / 2


def _start(clean: Tensor, seed: int) -> Tensor:
    """A point within half a grey level of the clean image, and off the border of the box. Drawn on the CPU.

    The draw makes rounds differ, and leaves points of symmetry where the gradient is zero.
    """
    noise = torch.rand(clean.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return (clean.float() + noise.to(clean.device) * _EDGE).clamp(_EDGE, 1 - _EDGE)
