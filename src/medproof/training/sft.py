"""Supervised fine-tuning: set up, train, save. Loss on the target only, the answer letter weighed."""

from __future__ import annotations

import importlib.util
import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration, set_seed
from torch import nn

from medproof.errors import UserError
from medproof.models.batch import positions
from medproof.models.loading import save_folder
from medproof.training.checkpoint import Checkpoints
from medproof.training.examples import Example
from medproof.training.losses import weighted_token_loss
from medproof.training.recipe import OptimSection, Recipe
from medproof.training.setup import Setup, set_up
from medproof.training.targets import TargetBatch, collate

METRICS = "metrics.jsonl"


class TrainingError(Exception):
    """Training cannot go on; the last complete checkpoint is kept."""


@dataclass(frozen=True)
class TrainProgress:
    """What a progress bar shows after an optimizer step."""

    step: int
    total: int
    loss: float
    lr: float
    seconds: float


class TargetLoss(nn.Module):
    """The net with the loss as its forward pass, so that data-parallel wrappers see one module."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: TargetBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """((B,), (B,)): weighted loss and weight per row."""
        inner = self.net.get_base_model() if hasattr(self.net, "get_base_model") else self.net
        hidden = inner.model(
            input_ids=batch.batch.input_ids,
            attention_mask=batch.batch.attention_mask,
            position_ids=positions(inner, batch.batch, batch.grid_thw),
            mm_token_type_ids=batch.batch.token_types,
            pixel_values=batch.pixel_values,
            image_grid_thw=batch.grid_thw,
            use_cache=False,
        ).last_hidden_state
        return weighted_token_loss(hidden, inner.lm_head, batch.labels, batch.weights)


def train(
    recipe: Recipe,
    out: Path,
    resume: bool = False,
    progress: Callable[[TrainProgress], None] | None = None,
    device: str = "auto",
    stop_at: int | None = None,
) -> Path:
    """Run a recipe; returns the folder of the final model.

    `stop_at`: leave after that many steps with a checkpoint (what an interruption does, on purpose).
    Raises TrainingError when the loss stops being finite, naming the step and the items of the batch; UserError for
    what the recipe asks for and this machine lacks.
    """
    for tracker in recipe.trackers:
        if importlib.util.find_spec(tracker) is None:
            raise UserError(f"tracker {tracker!r} is not installed: pip install {tracker}, or take it out of trackers")
    accelerator = Accelerator(
        cpu=device == "cpu",
        mixed_precision=recipe.mixed_precision,
        log_with=list(recipe.trackers) or None,
        project_config=ProjectConfiguration(project_dir=str(out), logging_dir=str(out / "logs")),
    )
    out.mkdir(parents=True, exist_ok=True)
    set_seed(recipe.seed)
    parts = set_up(recipe, accelerator.device)
    module = TargetLoss(parts.net)
    optimizer = make_optimizer(module, recipe.optim)
    module, optimizer = accelerator.prepare(module, optimizer)
    checkpoints = Checkpoints(out / "checkpoints", recipe.checkpoint.keep_last)
    first = _resume(accelerator, checkpoints, recipe) if resume else 0
    if accelerator.is_main_process:
        _keep_metrics(out / METRICS, first)
    if recipe.trackers:
        accelerator.init_trackers(recipe.name, config=_flat(recipe.model_dump(mode="json")))
    module.train()
    began = time.monotonic()
    last = min(recipe.optim.steps, stop_at or recipe.optim.steps)
    for step in range(first, last):
        lr = learning_rate(recipe.optim, step)
        for group in optimizer.param_groups:
            group["lr"] = lr
        loss = _step(accelerator, module, optimizer, parts, recipe, step)
        _log(accelerator, out, {"step": step + 1, "loss": loss, "lr": lr})
        if progress is not None:
            progress(TrainProgress(step + 1, recipe.optim.steps, loss, lr, time.monotonic() - began))
        if (step + 1) % recipe.checkpoint.every == 0 or step + 1 == last:
            checkpoints.save(accelerator, step + 1, recipe)
    folder = out / "model"
    if accelerator.is_main_process:
        save_model(folder, accelerator.unwrap_model(module).net, parts)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return folder


def save_model(folder: Path, net: Any, parts: Setup) -> None:
    """What plain transformers (or PEFT, for an adapter) loads."""
    save_folder(folder, net, parts.chat.tokenizer, parts.processor)


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


def _step(
    accelerator: Accelerator, module: nn.Module, optimizer: Any, parts: Setup, recipe: Recipe, step: int
) -> float:
    """One optimizer step over this process's share of the batch; returns the loss over the whole batch."""
    examples = parts.stream.batch(step)
    share = examples[accelerator.process_index :: accelerator.num_processes]
    micro = _micro_batches(share, recipe.optim.accumulation)
    batches = [_collate(m, parts, recipe) for m in micro]
    total_weight = accelerator.reduce(
        torch.stack([b.weights[:, 1:].sum() for b in batches]).sum().to(accelerator.device), "sum"
    )
    summed = torch.zeros((), device=accelerator.device)
    for number, batch in enumerate(batches):
        syncing = number == len(batches) - 1
        with accelerator.no_sync(module) if not syncing else nullcontext():
            losses, _ = module(batch.to(accelerator.device))
            # Data-parallel wrappers average gradients over processes; the loss is a sum over the whole batch.
            accelerator.backward(losses.sum() * accelerator.num_processes / total_weight)
        summed += losses.detach().sum()
    loss = float(accelerator.reduce(summed, "sum") / total_weight)
    norm = accelerator.clip_grad_norm_(module.parameters(), recipe.optim.max_grad_norm)
    if not (math.isfinite(loss) and (norm is None or bool(torch.isfinite(torch.as_tensor(norm))))):
        names = ", ".join(e.item.id for e in examples[:16])
        raise TrainingError(
            f"loss {loss} at step {step + 1}, items {names}{', ...' if len(examples) > 16 else ''}: "
            "lower optim.lr or check these items; the last complete checkpoint is kept"
        )
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss


def _micro_batches(examples: Sequence[Example], count: int) -> list[list[Example]]:
    """Split so that equal reply lengths and image sizes meet; the gradient of the whole batch stays the same."""
    ordered = sorted(examples, key=lambda e: (e.mode, e.image.shape, e.item.id))
    size = math.ceil(len(ordered) / count)
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def _collate(examples: Sequence[Example], parts: Setup, recipe: Recipe) -> TargetBatch:
    return collate(parts.chat, parts.grid, examples, recipe.answer_weight, parts.pad_id)


def _resume(accelerator: Accelerator, checkpoints: Checkpoints, recipe: Recipe) -> int:
    folder = checkpoints.latest()
    if folder is None:
        return 0
    step = checkpoints.read_step(folder, recipe, accelerator.num_processes)
    accelerator.load_state(str(folder))
    return step


def _log(accelerator: Accelerator, out: Path, row: dict[str, float]) -> None:
    accelerator.log({k: v for k, v in row.items() if k != "step"}, step=int(row["step"]))
    if accelerator.is_main_process:
        with open(out / METRICS, "a", encoding="utf-8") as file:
            file.write(json.dumps(row, sort_keys=True) + "\n")


def _keep_metrics(path: Path, steps: int) -> None:
    """Drop what was logged after the checkpoint that training goes on from, and what an earlier run left."""
    rows = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    path.write_text("".join(rows[:steps]), encoding="utf-8")


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested recipe -> dotted keys with plain values, as trackers want them."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, (int, float, str, bool)) else json.dumps(value)
    return flat
