"""How far PGD goes at each step, and along what: step sizes by name, in units of [0, 1] pixels."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

StepRuleName = Literal["cosine", "constant", "momentum"]


@dataclass(frozen=True)
class StepRule:
    """size(eps, step, steps): length of step `step` (0-based). decay: share of the past gradients that is kept."""

    size: Callable[[float, int, int], float]
    decay: float = 0.0


def cosine(eps: float, step: int, steps: int) -> float:
    """Falls from 2 eps to nearly 0 along a cosine.

    Large moves cross flat regions, small ones settle. docs/threat_model.md says what it was compared with.
    """
    return eps * (1 + math.cos(math.pi * step / steps))


def constant(eps: float, step: int, steps: int) -> float:
    """2.5 eps / steps, as in Madry et al. 2018 (arXiv:1706.06083): all steps together reach across the ball."""
    return 2.5 * eps / steps


STEP_RULES: dict[StepRuleName, StepRule] = {
    "cosine": StepRule(cosine),
    "constant": StepRule(constant),
    # Unit gradients are summed, as in MI-FGSM (Dong et al. 2018, arXiv:1710.06081, eq. 6), there with L1 norms.
    "momentum": StepRule(constant, decay=1.0),
}
