"""Random points of the ball's border: the control that every attack of the same norm has to beat."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medproof.attacks.ascent import check
from medproof.attacks.objective import Score
from medproof.attacks.result import AttackResult, Tracker
from medproof.attacks.threat import WHITE, ThreatModel, levels, to_images
from medproof.seeds import rng

_RESCALINGS = 8
"""Clipping at black and white takes length off a random direction; this often it is stretched again."""


def random_noise(
    score: Score,
    images: Sequence[Tensor],
    threat: ThreatModel,
    *,
    seeds: Sequence[int],
    draws: int = 1,
    allowed: Sequence[Tensor] | None = None,
) -> AttackResult:
    """Show each image under `draws` random perturbations of the ball's full size and keep the best.

    images, seeds, allowed and errors as in `pgd`. Cost per example: 1 forward, and one for each draw until one is
    adversarial.
    """
    if draws < 1:
        raise ValueError(f"draws are at least 1, not {draws}")
    tracker = Tracker(images)
    movable = check(images, threat, allowed, seeds)
    with torch.no_grad():
        tracker.ask(score, images, range(len(images)))
        for draw in range(draws):
            todo = [i for i in movable if not (tracker.success[i] or tracker.broken[i])]
            shown = [
                random_border(
                    images[i], threat, rng(seeds[i], str(draw), "noise"), None if allowed is None else allowed[i]
                )
                for i in todo
            ]
            tracker.ask(score, shown, todo)
            for i in todo:
                tracker.restarts_used[i] += 1
    return tracker.result()


def random_border(
    clean: Tensor, threat: ThreatModel, generator: np.random.Generator, allowed: Tensor | None = None
) -> Tensor:
    """An 8-bit image at the border of the ball around `clean` (3, H, W).

    linf: every value up or down by eps, clipped. l2: a uniform direction of length eps, stretched again where clipping
    took length off. allowed: (H, W) bool, the pixels that may change; None: all. Drawn in the order (H, W, 3).
    """
    channels, height, width = clean.shape
    keep = torch.ones((), dtype=torch.bool) if allowed is None else allowed.cpu()
    if threat.norm == "linf":
        signs = generator.integers(0, 2, (height, width, channels), dtype=np.int16) * 2 - 1
        moved = torch.from_numpy(signs.transpose(2, 0, 1).astype(np.int32)) * threat.budget * keep
        return to_images((levels(clean).cpu() + moved).clamp(0, WHITE)).to(clean.device)
    drawn = generator.standard_normal((height, width, channels), dtype=np.float32)
    delta, start = torch.from_numpy(drawn.transpose(2, 0, 1)) * keep, clean.float().cpu()
    for _ in range(_RESCALINGS):
        reached = (start + delta).clamp(0, 1) - start
        delta = delta * (float(threat.eps) / reached.norm().clamp_min(1e-9))
    return threat.finish((start + delta)[None], start[None])[0].to(clean.device)
