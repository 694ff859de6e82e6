"""Losses of class scores that attacks raise. Each is larger where the model is closer to being wrong.

logits: [B, K] class or option scores. Log-probabilities serve as well: every loss here is the same after a shift.
labels: [B] int64, the right class. targets: [B] int64 or None, a wrong class to steer to; None: any.
All return [B].
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Loss = Literal["margin", "ce", "dlr"]
_LEAST = 1e-12
"""Spread of equal logits: keeps gradients finite."""


def margin(logits: Tensor, labels: Tensor, targets: Tensor | None = None) -> Tensor:
    """Best wrong (or the target's) logit minus the right one's; without target, above 0 exactly where wrong."""
    right = logits.gather(1, labels[:, None])[:, 0]
    if targets is not None:
        return logits.gather(1, targets[:, None])[:, 0] - right
    return without(logits, labels).amax(1) - right


def cross_entropy(logits: Tensor, labels: Tensor, targets: Tensor | None = None) -> Tensor:
    """-log p of the right class; with targets, log p of the target."""
    if targets is not None:
        return -functional.cross_entropy(logits, targets, reduction="none")
    return functional.cross_entropy(logits, labels, reduction="none")


def dlr(logits: Tensor, labels: Tensor, targets: Tensor | None = None) -> Tensor:
    """Difference of logits ratio (Croce & Hein 2020, arXiv:2003.01690, eq. 6; targeted: eq. 7).

    The margin over a spread of the largest logits, so that the scale of the logits does not matter. It needs three
    classes, targeted four; with fewer, the spread would be the margin itself and the loss constant, and the plain
    margin is returned.
    """
    difference = margin(logits, labels, targets)
    if logits.shape[1] < (3 if targets is None else 4):
        return difference
    largest = logits.sort(1, descending=True).values
    low = largest[:, 2] if targets is None else (largest[:, 2] + largest[:, 3]) / 2
    return difference / (largest[:, 0] - low).clamp_min(_LEAST)


LOSSES: dict[Loss, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "margin": margin,
    "ce": cross_entropy,
    "dlr": dlr,
}


def without(logits: Tensor, labels: Tensor) -> Tensor:
    """The logits with -inf at the right class."""
    return logits.scatter(1, labels[:, None], -torch.inf)
