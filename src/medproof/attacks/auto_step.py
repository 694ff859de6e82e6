"""The step rule of Auto-PGD (Croce & Hein 2020, arXiv:2003.01690, algorithm 1), which chooses its own sizes.

The step of an example starts at 2 eps and is halved at checkpoints when the search stalls: the loss rose in too few of
the steps since the last checkpoint, or neither step nor best loss changed since then. A halving also takes the example
back to its best point. Conditions hold for each example by itself.

As in `pgd`, iterates are float and what is judged is their 8-bit image: loss, rises and best point are those of 8-bit
images, while momentum and steps below half a grey level add up in the iterate. After a halving the momentum starts
anew; in the paper it is the jump back to the best point.
"""

import torch
from torch import Tensor

from medproof.attacks.ascent import Bucket
from medproof.attacks.threat import ThreatModel

_MOMENTUM = 0.75
"""Share of the new step in a move; the rest repeats the last move."""
_RISES = 0.75
"""Share of steps since the last checkpoint that must raise the loss."""


def checkpoints(steps: int) -> list[int]:
    """Steps at which the step size is reconsidered, 0 first: denser and denser (section 3.1 of the paper)."""
    percents = [0, 22]
    while percents[-1] < 100:
        percents.append(percents[-1] + max(percents[-1] - percents[-2] - 3, 6))
    return sorted({-(-percent * steps // 100) for percent in percents if percent < 100})  # rounded up


class AutoStep:
    """The step rule `auto`. Holds the state of a bucket's examples; all tensors [B, ...], row by row."""

    def __init__(self, threat: ThreatModel, steps: int) -> None:
        self.threat = threat
        self.since = dict(zip(checkpoints(steps)[1:], checkpoints(steps)))  # checkpoint -> the one before
        self.state: dict[str, Tensor] = {}

    def keep(self, rows: list[int]) -> None:
        self.state = {name: tensor[rows] for name, tensor in self.state.items()}

    def move(self, bucket: Bucket, gradient: Tensor, loss: Tensor, step: int) -> Tensor:
        here, first = bucket.iterate, not self.state
        if first:
            self._begin(here, gradient, loss)
        self._note(here, gradient, loss)
        state = self.state
        if step in self.since:
            stalled = self._stalled(step - self.since[step])
            wide = stalled.view(-1, 1, 1, 1)
            here, gradient = torch.where(wide, state["best"], here), torch.where(wide, state["uphill"], gradient)
            state["previous"] = torch.where(wide, here, state["previous"])
        ahead = self.threat.project(here + state["size"] * self.threat.direction(gradient), bucket.clean)
        share = 1.0 if first else _MOMENTUM
        mixed = here + share * (ahead - here) + (1 - share) * (here - state["previous"])
        state["previous"] = here
        return self.threat.project(mixed, bucket.clean)

    def _begin(self, here: Tensor, gradient: Tensor, loss: Tensor) -> None:
        rows = torch.zeros_like(loss)
        self.state = {
            "size": 2 * float(self.threat.eps) * torch.ones_like(loss).view(-1, 1, 1, 1),
            "previous": here,
            "loss": loss,  # of the last iterate
            "rises": rows,  # since the last checkpoint
            "best": here,  # the iterate with the highest loss of this run
            "uphill": gradient,  # at the best
            "best_loss": loss,
            "best_before": loss,  # best loss at the last checkpoint
            "halved": rows.bool(),  # at the last checkpoint
        }

    def _note(self, here: Tensor, gradient: Tensor, loss: Tensor) -> None:
        state = self.state
        state["rises"] = state["rises"] + (loss > state["loss"])
        state["loss"] = loss
        better = loss > state["best_loss"]
        wide = better.view(-1, 1, 1, 1)
        state["best_loss"] = torch.where(better, loss, state["best_loss"])
        state["best"] = torch.where(wide, here, state["best"])
        state["uphill"] = torch.where(wide, gradient, state["uphill"])

    def _stalled(self, span: int) -> Tensor:
        """Which examples to halve at this checkpoint, `span` steps after the last; halves their step."""
        state = self.state
        stuck = ~state["halved"] & (state["best_loss"] == state["best_before"])
        stalled = (state["rises"] < _RISES * span) | stuck
        state["size"] = torch.where(stalled.view(-1, 1, 1, 1), state["size"] / 2, state["size"])
        state["halved"], state["best_before"] = stalled, state["best_loss"]
        state["rises"] = torch.zeros_like(state["rises"])
        return stalled
