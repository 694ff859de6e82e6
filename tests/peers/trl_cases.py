"""Inputs on which our losses and advantages are held against TRL's, and what is compared. No TRL here.

The numbers come from PCG64's uniform stream, so that the golden values beside this file hold on any machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from medproof.seeds import rng
from medproof.training.policy_loss import LossType, PolicySettings, denominator, policy_loss

LOSSES: tuple[LossType, ...] = ("grpo", "dr_grpo", "dapo", "gspo")
LENGTH = 7
GROUPS = 3


@dataclass(frozen=True)
class Case:
    """G completions for each of 3 prompts. `moved`: the policy is no longer the one that sampled."""

    loss_type: LossType
    g: int
    beta: float
    moved: bool

    @property
    def name(self) -> str:
        return f"{self.loss_type}-G{self.g}-beta{self.beta}-{'moved' if self.moved else 'on_policy'}"

    @property
    def settings(self) -> PolicySettings:
        return PolicySettings(self.loss_type, max_completion_length=9, epsilon=0.1, epsilon_high=0.2, beta=self.beta)


@dataclass(frozen=True, eq=False)
class Inputs:
    """[3, G, 7] each, advantages [3, G]. Group 0 has no variance, the last completion of group 1 is masked as a whole,
    the first of group 2 is one token long."""

    logps: torch.Tensor
    old: torch.Tensor | None
    ref: torch.Tensor
    entropy: torch.Tensor
    mask: torch.Tensor
    advantages: torch.Tensor


def cases() -> Iterator[Case]:
    for loss_type in LOSSES:
        for g in range(1, 9):
            yield from (Case(loss_type, g, beta, moved) for beta in (0.0, 0.04) for moved in (False, True))


def inputs(case: Case) -> Inputs:
    shape = (GROUPS, case.g, LENGTH)
    draws = rng(case.g, "trl", "losses")

    def uniform(low: float, high: float, size: tuple[int, ...] = shape) -> torch.Tensor:
        return torch.from_numpy((low + (high - low) * draws.random(size)).astype(np.float32))

    logps, shift, ref = uniform(-4, -0.05), uniform(-0.6, 0.6), uniform(-4, -0.05)
    entropy, advantages = uniform(0, 3), uniform(-2, 2, shape[:2])
    lengths = (1 + LENGTH * uniform(0, 1, shape[:2])).long().clamp(max=LENGTH)
    advantages[0] = 0
    lengths[1, -1], lengths[2, 0] = 0, 1
    mask = torch.arange(LENGTH) < lengths[..., None]
    return Inputs(logps, logps - shift if case.moved else None, ref, entropy, mask, advantages)


def ours(case: Case) -> tuple[float, torch.Tensor, torch.Tensor]:
    """(loss, its gradient with respect to the log-probabilities [3, G, 7], statistics)."""
    given = inputs(case)
    logps = given.logps.clone().requires_grad_()
    found = policy_loss(logps, given.old, given.advantages, given.mask, given.ref, case.settings, entropy=given.entropy)
    loss = found.numerators.sum() / denominator(given.mask, case.settings).clamp(min=1)
    loss.backward()
    assert logps.grad is not None
    return loss.item(), logps.grad, found.statistics


def projections(gradient: torch.Tensor) -> list[float]:
    """Four weighed sums of a gradient: what stands for it in the golden values."""
    weights = rng(gradient.numel(), "trl", "projections").random((4, gradient.numel())) * 2 - 1
    return (torch.from_numpy(weights) @ gradient.flatten().double()).tolist()


def rewards(g: int) -> torch.Tensor:
    """[4, g, 2] of two reward functions: varied; equal; one gave None here and there; no one judged the last.

    The equal ones are exact in binary: of others TRL's float32 mean is off by a rounding, and makes 1e-4 of it.
    """
    values = torch.from_numpy(np.round(rng(g, "trl", "rewards").random((4, g, 2)), 1).astype(np.float32))
    values[1] = 0.25
    values[2, ::2, 0] = torch.nan
    values[3, -1] = torch.nan
    return values
