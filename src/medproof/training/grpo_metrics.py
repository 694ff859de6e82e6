"""What is logged about a batch of groups, by TRL's names. Pure functions of tensors over the whole batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def reward_metrics(rewards: torch.Tensor, totals: torch.Tensor, names: Sequence[str]) -> dict[str, float]:
    """rewards: [B, G, R], NaN where a function gave None; totals: [B, G], their weighed sum, NaN where all gave None.

    reward_std is over all completions, as in TRL 1.16; frac_reward_zero_std is the share of groups whose completions
    all earned the same, which teach nothing. Per function: mean and standard deviation over the completions it judged,
    left out where it judged none.
    """
    within = torch.stack([_std(group) for group in totals])  # [B]
    logged = {
        "reward": float(totals.nanmean()),
        "reward_std": float(_std(totals)),
        "frac_reward_zero_std": float((within < 1e-6).double().mean()),
    }
    for r, name in enumerate(names):
        values = rewards[..., r]
        if not bool(values.isnan().all()):
            logged |= {f"rewards/{name}/mean": float(values.nanmean()), f"rewards/{name}/std": float(_std(values))}
    return logged


def _std(values: torch.Tensor) -> torch.Tensor:
    """Unbiased standard deviation of what is not NaN; 0 for fewer than two values."""
    known = values[~values.isnan()].double()
    return known.std() if len(known) > 1 else torch.zeros((), dtype=torch.float64)


def completion_metrics(lengths: torch.Tensor, truncated: torch.Tensor) -> dict[str, float]:
    """lengths: [B, G] tokens, end token included; truncated: [B, G] bool."""
    tokens = lengths.double()
    return {
        "completions/mean_length": float(tokens.mean()),
        "completions/min_length": float(tokens.min()),
        "completions/max_length": float(tokens.max()),
        "completions/clipped_ratio": float(truncated.double().mean()),
    }
