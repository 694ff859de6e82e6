"""Projected gradient descent on 8-bit images (Madry et al. 2018, arXiv:1706.06083), for images of any shapes."""

import math
from collections.abc import Sequence
from functools import partial

from torch import Tensor

from medproof.attacks.ascent import ascend
from medproof.attacks.objective import Score
from medproof.attacks.result import AttackResult
from medproof.attacks.step_rules import STEP_RULES, StepRule
from medproof.attacks.threat import ThreatModel


def pgd(
    score: Score,
    images: Sequence[Tensor],
    threat: ThreatModel,
    *,
    steps: int,
    seeds: Sequence[int],
    restarts: int = 1,
    rule: StepRule = "cosine",
    starts: Sequence[Tensor] | None = None,
    allowed: Sequence[Tensor] | None = None,
    enough: float = math.inf,
) -> AttackResult:
    """Search the ball around each image for one with the highest loss.

    images: 8-bit (3, H, W) in [0, 1], any shapes, on the device of the model. Never written.
    seeds: one per example. The result for an example depends on its image, its seed and the score alone; where the
        score itself is independent of the batch, so is the result, bit for bit.
    restarts: each begins at a fresh random point of the ball and runs only on examples not yet adversarial.
    rule: step rule, see `step_rules`.
    starts: float images to begin the first restart from instead.
    allowed: (H, W) bool for each example, the pixels that may change; no other does, exactly. None: all.
    enough: an example that is adversarial with at least this loss leaves its restart early.
    The clean image is the first candidate, so the loss never falls below the clean one and eps = 0 returns the clean
    image. Cost per example: 1 forward, and per restart `steps` forward-backward pairs and 1 forward.

    Raises ValueError for images that are not 8-bit, masks that do not fit, or lists of unequal length. Errors of the
    score pass through.
    """
    return ascend(
        score,
        images,
        threat,
        partial(STEP_RULES[rule], threat, steps),
        steps=steps,
        seeds=seeds,
        restarts=restarts,
        starts=starts,
        allowed=allowed,
        enough=enough,
    )


apgd = partial(pgd, rule="auto")
"""Auto-PGD (Croce & Hein 2020): `pgd` that chooses its own step sizes."""
