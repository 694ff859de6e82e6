"""Decoupled direction and norm (Rony et al. 2019, arXiv:1811.09600, algorithm 1): a close L2 image in few passes.

Each step turns the perturbation along the gradient, and sets its length apart from that: shorter where the last image
fooled the model, longer where not. Two things differ from the paper. The first length is the one that a linear model
needs, |loss| / |gradient|, and a step is a share of the present length: no scale of images is built in. And changes of
length shrink with the steps, so that the search settles at the border.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medproof.attacks.ascent import Bucket, buckets_of, evaluate
from medproof.attacks.minimal import MinimalResult, begin, finish_l2
from medproof.attacks.objective import Score
from medproof.attacks.threat import unit

_RESIZE = (0.2, 0.01)
"""Relative change of length at a step, first and last."""
_TURN = (1.0, 0.01)
"""Length of a step along the gradient, first and last, in units of the present length."""


def ddn(
    score: Score, images: Sequence[Tensor], *, steps: int, seeds: Sequence[int], limit: float = math.inf
) -> MinimalResult:
    """Search the closest 8-bit image in L2 that the score calls adversarial, for each image by itself.

    Arguments and errors as in `cw_l2`; nothing is drawn, so `seeds` play no part. limit: no image beyond it is
    returned. Cost per example: 1 + `steps` forward-backward passes, and at most `minimal.FINISH_TRIES` forwards for
    the 8-bit finish. An image that is adversarial as it is costs one pass and has distance 0.
    """
    if steps < 1:
        raise ValueError(f"steps is at least 1, not {steps}")
    closest, slopes = begin(score, images, seeds)
    lengths = {i: loss / slope for i, (loss, slope) in slopes.items()}
    buckets = buckets_of(images, lengths)
    for step in range(steps):
        part = (1 + math.cos(math.pi * step / steps)) / 2
        for bucket, (gradient, _) in zip(buckets, evaluate(score, buckets, closest, gradient=True)):
            rows = [row for row, i in enumerate(bucket.indices) if not closest.broken[i]]
            bucket.keep(rows)
            if not rows:
                continue
            for i in bucket.indices if step else ():  # the first images shown are the clean ones
                lengths[i] *= 1 + _between(_RESIZE, part) * (-1 if closest.fooling[i] else 1)
            length = torch.tensor([lengths[i] for i in bucket.indices]).to(gradient).view(-1, 1, 1, 1)
            bucket.shown = _turned(bucket, gradient[rows], length, _between(_TURN, part))
        buckets = [bucket for bucket in buckets if bucket.indices]
    return finish_l2(score, closest, limit)


def _turned(bucket: Bucket, gradient: Tensor, length: Tensor, turn: float) -> Tensor:
    """The next images [B, 3, H, W]: `length` from the clean ones before they are clipped to the box."""
    delta = bucket.shown - bucket.clean + turn * length * unit(gradient)
    return (bucket.clean + length * unit(delta)).clamp(0, 1)


def _between(ends: tuple[float, float], part: float) -> float:
    first, last = ends
    return last + (first - last) * part
