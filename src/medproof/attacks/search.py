"""What an attack within a ball looks like once its budget is filled in."""

import math
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from medproof.attacks.objective import Score
from medproof.attacks.result import AttackResult
from medproof.attacks.threat import ThreatModel


class Search(Protocol):
    """Such as `partial(pgd, steps=20)`; arguments as in `pgd`."""

    def __call__(
        self,
        score: Score,
        images: Sequence[Tensor],
        threat: ThreatModel,
        /,
        *,
        seeds: Sequence[int],
        allowed: Sequence[Tensor] | None = None,
        starts: Sequence[Tensor] | None = None,
        enough: float = math.inf,
    ) -> AttackResult: ...
