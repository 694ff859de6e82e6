"""AdamW, its learning rate, and the end of an optimizer step: clip, check, step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from medproof.training.sections import OptimSection

_NAMED = 16


class TrainingError(Exception):
    """Training cannot go on; the last complete checkpoint is kept."""


def make_optimizer(module: nn.Module, optim: OptimSection) -> torch.optim.AdamW:
    """AdamW; vectors (norms, biases) are not decayed."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": optim.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=optim.lr, betas=optim.betas)


def learning_rate(optim: OptimSection, step: int) -> float:
    """Linear warm-up, then cosine from `lr` to `min_lr_ratio * lr`, anew at restarts; a pure function of the step."""
    if step < optim.warmup_steps:
        return optim.lr * (step + 1) / optim.warmup_steps
    begins = [(optim.warmup_steps, optim.lr), *sorted((r.step, r.lr) for r in optim.restarts)]
    first, peak = [begin for begin in begins if begin[0] <= step][-1]
    last = min((begin for begin, _ in begins if begin > step), default=optim.steps)
    done = (step - first) / max(1, last - first)
    low = optim.min_lr_ratio
    return peak * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * done)))


def apply_gradients(
    accelerator: Accelerator,
    module: nn.Module,
    optimizer: Any,
    optim: OptimSection,
    step: int,
    loss: float,
    items: Sequence[str],
) -> tuple[float, float]:
    """Clip and take optimizer step `step` (from 0); returns (learning rate, norm of the gradient before clipping).

    Raises TrainingError, naming the step and `items`, where loss or gradient is not finite; no weight is changed then.
    """
    lr = learning_rate(optim, step)
    for group in optimizer.param_groups:
        group["lr"] = lr
    norm = float(accelerator.clip_grad_norm_(module.parameters(), optim.max_grad_norm))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        names = ", ".join(items[:_NAMED])
        raise TrainingError(
            f"loss {loss} at step {step + 1}, items {names}{', ...' if len(items) > _NAMED else ''}: "
            "lower optim.lr or check these items; the last complete checkpoint is kept"
        )
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return lr, norm
