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


def adversarial_metrics(totals: torch.Tensor, seen: torch.Tensor, numbers: torch.Tensor) -> dict[str, float]:
    """totals: [B, G]; seen: [B, G] bool, completions sampled from a perturbed image; numbers: [B, 3], see `Perturbed`.

    Rewards and shares of groups without variance apart for both images, as far as the batch has them: a group that is
    divided counts in both. adv/share: of completions sampled from perturbed images. Norms are means over these images.
    """
    logged = {"adv/share": float(seen.double().mean())}
    for name, side in (("attacked", seen), ("clean", ~seen)):
        if bool(side.any()):
            within = torch.stack([_std(group[own]) for group, own in zip(totals, side, strict=True) if bool(own.any())])
            logged[f"adv/reward_{name}"] = float(totals[side].nanmean())
            logged[f"adv/frac_reward_zero_std_{name}"] = float((within < 1e-6).double().mean())
    return logged | perturbation_metrics(numbers)


def perturbation_metrics(numbers: torch.Tensor) -> dict[str, float]:
    """numbers: [B, 3] of `Perturbed.numbers` -> their means over the perturbed images; nothing where there are none."""
    moved = numbers[~numbers[:, 0].isnan()].double()
    names = ("adv/delta_linf", "adv/delta_l2", "adv/zero_gradient")
    return dict(zip(names, moved.mean(0).tolist(), strict=True)) if len(moved) else {}


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
