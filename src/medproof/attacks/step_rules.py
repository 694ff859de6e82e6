"""How far PGD goes at each step, and along what: step rules by name, sizes in units of [0, 1] pixels."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor

from medproof.attacks.ascent import Bucket, Mover
from medproof.attacks.auto_step import AutoStep
from medproof.attacks.threat import ThreatModel, unit

StepRule = Literal["cosine", "constant", "momentum", "auto"]


@dataclass
class Scheduled:
    """A step along the gradient, or along a sum of past unit gradients, projected to the ball.

    size(eps, step, steps): length of step `step` (0-based). decay: share of the past gradients that is kept.
    """

    threat: ThreatModel
    steps: int
    size: Callable[[float, int, int], float]
    decay: float = 0.0
    past: Tensor | None = None  # [B, 3, H, W]

    def keep(self, rows: list[int]) -> None:
        self.past = None if self.past is None else self.past[rows]

    def move(self, bucket: Bucket, gradient: Tensor, loss: Tensor, step: int) -> Tensor:
        if self.decay:
            gradient = unit(gradient) if self.past is None else self.decay * self.past + unit(gradient)
            self.past = gradient
        size = self.size(float(self.threat.eps), step, self.steps)
        return self.threat.project(bucket.iterate + size * self.threat.direction(gradient), bucket.clean)


def cosine(eps: float, step: int, steps: int) -> float:
    """Falls from 2 eps to nearly 0 along a cosine.

    Large moves cross flat regions, small ones settle. docs/threat_model.md says what it was compared with.
    """
    return eps * (1 + math.cos(math.pi * step / steps))


def constant(eps: float, step: int, steps: int) -> float:
    """2.5 eps / steps, as in Madry et al. 2018 (arXiv:1706.06083): all steps together reach across the ball."""
    return 2.5 * eps / steps


STEP_RULES: dict[StepRule, Callable[[ThreatModel, int], Mover]] = {
    "cosine": partial(Scheduled, size=cosine),
    "constant": partial(Scheduled, size=constant),
    # Unit gradients are summed, as in MI-FGSM (Dong et al. 2018, arXiv:1710.06081, eq. 6), there with L1 norms.
    "momentum": partial(Scheduled, size=constant, decay=1.0),
    "auto": AutoStep,
}
"""(threat, steps) -> the rule for one bucket in one run."""
