"""The score of a plain image classifier, for benchmarks and tests: attacks that are strong here are strong at all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medproof.attacks.losses import LOSSES, Loss, margin


@dataclass(frozen=True)
class ClassifierScore:
    """Score of `net`: [B, 3, H, W] in [0, 1] -> [B, K] logits or log-probabilities.

    labels: [N] int64, the right class of each example. targets: [N] int64, the wrong class to steer to; None: any.
    Whatever the loss and the target, an image is adversarial once any wrong logit is above the right one.
    All images of one call have one shape.
    """

    net: Callable[[Tensor], Tensor]
    labels: Tensor
    loss: Loss = "margin"
    targets: Tensor | None = None

    def __call__(self, pixels: Sequence[Tensor], indices: Sequence[int], /) -> tuple[Tensor, Tensor]:
        logits = self.net(torch.stack(list(pixels))).float()
        places = torch.tensor(list(indices), dtype=torch.int64, device=self.labels.device)
        labels = self.labels[places].to(logits.device)
        targets = None if self.targets is None else self.targets[places].to(logits.device)
        loss = LOSSES[self.loss](logits, labels, targets)
        return loss, margin(logits.detach(), labels) > 0
