"""The planted adversary (Zimmermann et al. 2022, arXiv:2206.13991): a binary question about the model's own features
that certainly has an adversarial image in the ball.

Per image, features of many images well inside the ball and of one image on its surface are told apart by a linear
readout. The readout says "turned" at the planted image and nowhere at the inner ones, so an attack on it has something
to find; one that misses it would miss adversaries of the model as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medproof.attacks import ThreatModel
from medproof.attacks.random_noise import random_border
from medproof.attacks.search import Search
from medproof.seeds import derive_seed, rng

INNER = 64
"""Images inside the ball per readout; more than features could not be told apart by a plane."""
SHRINK = 0.95
"""Radius of the inner images, in units of eps, as in the paper."""
CLOSE = 0.9
"""Place of the boundary between the highest inner score (0) and the planted one (1)."""
RIDGE = 1e-6

Features = Callable[[Sequence[Tensor], Sequence[int]], Tensor]
"""(images, indices) -> (n, D): the features of images of the examples `indices`, differentiable in the images."""


@dataclass(frozen=True)
class Readout:
    """Score of features: above 0 is turned."""

    weight: Tensor  # (D,) float32
    bias: float

    def __call__(self, features: Tensor) -> Tensor:
        """(n, D) -> (n,)."""
        return features.float() @ self.weight + self.bias


@dataclass(frozen=True)
class Found:
    """Per example: did the attack, and did as many random images, reach the turned side?"""

    attack: list[bool]
    chance: list[bool]


def search(
    features: Features, images: Sequence[Tensor], threat: ThreatModel, attack: Search, seeds: Sequence[int]
) -> Found:
    """Plant an adversary for each 8-bit image (3, H, W) and let `attack` search for one. seeds: one per image."""
    readouts = [_readout(features, image, i, threat, seeds[i]) for i, image in enumerate(images)]

    def score(pixels: Sequence[Tensor], indices: Sequence[int], /) -> tuple[Tensor, Tensor]:
        found = features(pixels, indices)
        loss = torch.stack([readouts[i](row[None])[0] for i, row in zip(indices, found, strict=True)])
        return loss, loss.detach() > 0

    result = attack(score, images, threat, seeds=[derive_seed(seed, "", "attack") for seed in seeds])
    chance = []
    for i, image in enumerate(images):
        tried = [_inside(image, threat, 1.0, derive_seed(seeds[i], str(k), "chance")) for k in range(INNER)]
        with torch.no_grad():
            chance.append(bool((readouts[i](_in_parts(features, tried, i)) > 0).any()))
    return Found(result.success.tolist(), chance)


def _readout(features: Features, image: Tensor, index: int, threat: ThreatModel, seed: int) -> Readout:
    """Ridge regression of -1 (inner) and +1 (planted) on the features, its boundary moved close to the planted one."""
    inner = [_inside(image, threat, SHRINK, derive_seed(seed, str(k), "inner")) for k in range(INNER - 1)]
    planted = random_border(image, threat, rng(seed, "", "surface"))
    with torch.no_grad():
        rows = _in_parts(features, [image, *inner, planted], index).double()  # [INNER + 1, D]
    centred = rows - rows.mean(0)
    gram = centred @ centred.T
    wanted = torch.full((len(rows),), -1.0, dtype=torch.float64, device=rows.device)
    wanted[-1] = 1.0
    ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(rows), dtype=torch.float64, device=rows.device)
    weight = centred.T @ torch.linalg.solve(gram + ridge, wanted - wanted.mean())
    scores = rows @ weight
    highest, top = scores[:-1].max(), scores[-1]
    return Readout(weight.float(), -float(highest + CLOSE * (top - highest)))


def _in_parts(features: Features, images: Sequence[Tensor], index: int, size: int = 16) -> Tensor:
    parts = [images[start : start + size] for start in range(0, len(images), size)]
    return torch.cat([features(part, [index] * len(part)) for part in parts])


def _inside(image: Tensor, threat: ThreatModel, share: float, seed: int) -> Tensor:
    """An 8-bit image drawn from the ball of radius `share` * eps."""
    start = threat.random_start(image, seed)
    return threat.finish((image + share * (start - image))[None], image[None])[0]
