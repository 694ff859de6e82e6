"""How much better a completion was than the others of its group."""

from __future__ import annotations

from typing import Literal

import torch

ScaleRewards = Literal["group", "batch", "none"]

_EPS = 1e-4  # keeps a group that hardly varies from being blown up; the value of TRL and of Med-R1


def group_advantages(rewards: torch.Tensor, scale_rewards: ScaleRewards = "group") -> torch.Tensor:
    """rewards [B, G] -> advantages [B, G], float32: (r - mean of the group) / (std + 1e-4).

    std (unbiased, 0 for G = 1) is that of the group (Shao et al. 2024, arXiv 2402.03300), of all `rewards` for "batch"
    (so hand over the whole batch, of all processes), or left out for "none" (Dr. GRPO, arXiv 2503.20783). NaN marks a
    completion that no reward function judged: it counts nowhere and its advantage is 0. A group of equal rewards gets
    exactly 0. TRL 1.16's `sum_then_normalize`.
    """
    rewards = rewards.double()
    known = ~rewards.isnan()
    lowest = rewards.masked_fill(~known, torch.inf).amin(1, keepdim=True)
    highest = rewards.masked_fill(~known, -torch.inf).amax(1, keepdim=True)
    advantages = rewards - rewards.nanmean(1, keepdim=True)
    if scale_rewards == "group":
        advantages = advantages / (_nanstd(rewards) + _EPS)
    elif scale_rewards == "batch":
        advantages = advantages / (_nanstd(rewards.reshape(1, -1)) + _EPS)
    return advantages.masked_fill(~known | (lowest >= highest), 0.0).float()


def _nanstd(rewards: torch.Tensor) -> torch.Tensor:
    """[N, M] -> [N, 1]: unbiased, over what is not NaN; 0 where that is fewer than two."""
    squares = (rewards - rewards.nanmean(1, keepdim=True)).square().nansum(1, keepdim=True)
    count = (~rewards.isnan()).sum(1, keepdim=True)
    return (squares / (count - 1).clamp(min=1)).sqrt()
