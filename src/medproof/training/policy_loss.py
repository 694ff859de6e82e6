"""GRPO's loss and its kin, as pure functions of log-probabilities.

    loss = sum of all numerators / max(1, sum of all denominators)

Both sums run over every group of an optimizer step, in whatever micro-batches and processes it was cut: nothing else
is shared between groups, so the cut cannot change the loss. Equal to TRL 1.16's on the same tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

LossType = Literal["grpo", "dr_grpo", "dapo", "gspo"]

STATISTICS = ("tokens", "ratios", "low", "high", "ratio", "ratio_min", "ratio_max", "kl", "entropy")
"""Last axis of `PolicyLoss.statistics`. Of one completion: its tokens; how many ratios it has (its tokens, or 1 for
gspo); how many of these were clipped from below and from above; their sum, least and largest; the sums over its tokens
of KL and entropy, NaN where not computed."""


@dataclass(frozen=True)
class PolicySettings:
    """TRL's names. loss_type:

    - `grpo` (arXiv 2402.03300, eq. 3): mean over a completion's tokens, then over completions.
    - `dr_grpo` (arXiv 2503.20783): sum over tokens, over completions times `max_completion_length`.
    - `dapo` (arXiv 2503.14476, eq. 8): mean over all tokens.
    - `gspo` (arXiv 2507.18071, eq. 5): as grpo, with one ratio per completion, the geometric mean of its tokens'.

    epsilon, epsilon_high: ratios count within [1 - epsilon, 1 + epsilon_high]; None: epsilon. beta: weight of the KL
    divergence from the reference, by the estimator k3.
    """

    loss_type: LossType
    max_completion_length: int
    epsilon: float = 0.2
    epsilon_high: float | None = None
    beta: float = 0.0


@dataclass(frozen=True, eq=False)
class PolicyLoss:
    """numerators: [B] float64, differentiable in the log-probabilities. statistics: [B, G, len(STATISTICS)] float64;
    of several micro-batches and processes to be concatenated, for `policy_metrics`."""

    numerators: torch.Tensor
    statistics: torch.Tensor


def denominator(mask: torch.Tensor, settings: PolicySettings) -> torch.Tensor:
    """What the numerators of these completions are divided by, to be added up first; a float64 scalar.

    mask: [B, G, L] bool. A completion whose row is all False (mask_truncated_completions) still counts as a completion
    in grpo, gspo and dr_grpo; in dapo only the tokens left count.
    """
    completions = mask.shape[0] * mask.shape[1]
    if settings.loss_type == "dapo":
        return mask.sum().double()
    length = settings.max_completion_length if settings.loss_type == "dr_grpo" else 1
    return torch.tensor(completions * length, dtype=torch.float64, device=mask.device)


def policy_loss(
    logps: torch.Tensor,
    old_logps: torch.Tensor | None,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    ref_logps: torch.Tensor | None,
    settings: PolicySettings,
    entropy: torch.Tensor | None = None,
    penalty: torch.Tensor | None = None,
) -> PolicyLoss:
    """Clipped policy gradient with a KL penalty.

    logps, old_logps, ref_logps, entropy, penalty: [B, G, L]; mask: [B, G, L] bool; advantages: [B, G]. What stands off
    the mask does not matter. old_logps None: the policy is the one that sampled. ref_logps is needed where beta > 0.
    penalty: what a token costs besides. Sums are in float64, so that padding does not change them.
    """
    logps = logps.float().masked_fill(~mask, 0.0)
    old = logps.detach() if old_logps is None else old_logps.float().masked_fill(~mask, 0.0)
    tokens = mask.sum(-1)  # [B, G]
    ratio = _ratio(logps - old, tokens, settings)  # [B, G, L], gspo [B, G, 1]
    low, high = 1 - settings.epsilon, 1 + _epsilon_high(settings)
    weight = advantages.float()[..., None]
    per_token = -torch.min(ratio * weight, ratio.clamp(low, high) * weight)
    kl = None
    if settings.beta > 0:
        if ref_logps is None:
            raise ValueError("beta > 0 needs the log-probabilities of the reference")
        kl = _k3(logps, ref_logps.float().masked_fill(~mask, 0.0))
        per_token = per_token + settings.beta * kl
    if penalty is not None:
        per_token = per_token + penalty
    total = (per_token * mask).sum(-1, dtype=torch.float64)  # [B, G]
    if settings.loss_type in ("grpo", "gspo"):
        total = total / tokens.clamp(min=1)
    with torch.no_grad():
        clipped = ((ratio < low) & (weight < 0), (ratio > high) & (weight > 0))
        statistics = _statistics(ratio, clipped, mask, kl, entropy)
    return PolicyLoss(total.sum(-1), statistics)


def policy_metrics(statistics: torch.Tensor) -> dict[str, float]:
    """statistics [N, G, len(STATISTICS)] of a whole step -> metrics by TRL's names, and `ratio/*`.

    kl and entropy are means over tokens. clip_ratio/low_mean, high_mean, region_mean: share of clipped ratios; low_min
    and high_max: least and largest share of one completion.
    """
    at = dict(zip(STATISTICS, statistics.double().unbind(-1)))
    has = at["ratios"] > 0  # [N, G]
    tokens, ratios = at["tokens"].sum().clamp(min=1), at["ratios"].sum().clamp(min=1)
    metrics = {name: float(at[name].sum() / tokens) for name in ("kl", "entropy") if not bool(at[name].isnan().any())}
    for name in ("low", "high"):
        metrics[f"clip_ratio/{name}_mean"] = float(at[name].sum() / ratios)
    metrics["clip_ratio/region_mean"] = metrics["clip_ratio/low_mean"] + metrics["clip_ratio/high_mean"]
    metrics["ratio/mean"] = float(at["ratio"].sum() / ratios)
    if bool(has.any()):
        metrics["clip_ratio/low_min"] = float((at["low"] / at["ratios"])[has].min())
        metrics["clip_ratio/high_max"] = float((at["high"] / at["ratios"])[has].max())
        metrics["ratio/min"] = float(at["ratio_min"][has].min())
        metrics["ratio/max"] = float(at["ratio_max"][has].max())
    return metrics


def _epsilon_high(settings: PolicySettings) -> float:
    return settings.epsilon if settings.epsilon_high is None else settings.epsilon_high


def _ratio(log_ratio: torch.Tensor, tokens: torch.Tensor, settings: PolicySettings) -> torch.Tensor:
    """log_ratio [B, G, L], 0 off the mask -> ratio per token [B, G, L], or per completion [B, G, 1] for gspo."""
    if settings.loss_type != "gspo":
        return log_ratio.exp()
    mean = log_ratio.sum(-1, dtype=torch.float64) / tokens.clamp(min=1)
    return mean.float().exp()[..., None]


def _k3(logps: torch.Tensor, ref_logps: torch.Tensor) -> torch.Tensor:
    """Unbiased, never negative estimate of KL(policy || reference) from a token of the policy (Schulman 2020)."""
    gap = ref_logps - logps
    return gap.exp() - gap - 1


def _statistics(
    ratio: torch.Tensor,
    clipped: tuple[torch.Tensor, torch.Tensor],
    mask: torch.Tensor,
    kl: torch.Tensor | None,
    entropy: torch.Tensor | None,
) -> torch.Tensor:
    """[B, G, len(STATISTICS)]. A completion without tokens has one ratio in gspo, 1, and none elsewhere."""
    exists = mask if ratio.shape == mask.shape else torch.ones_like(ratio, dtype=torch.bool)

    def total(values: torch.Tensor | None, where: torch.Tensor) -> torch.Tensor:
        if values is None:
            return torch.full(mask.shape[:2], torch.nan, dtype=torch.float64, device=mask.device)
        return values.masked_fill(~where, 0).sum(-1, dtype=torch.float64)

    columns = (
        mask.sum(-1),
        exists.sum(-1),
        total(clipped[0], exists),
        total(clipped[1], exists),
        total(ratio, exists),
        ratio.masked_fill(~exists, torch.inf).amin(-1),
        ratio.masked_fill(~exists, -torch.inf).amax(-1),
        total(kl, mask),
        total(entropy, mask),
    )
    return torch.stack([column.double() for column in columns], dim=-1)
