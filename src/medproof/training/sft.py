"""Supervised fine-tuning: set up, train, save. Loss on the target only, the answer letter weighed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medproof.models.batch import positions
from medproof.training.examples import Example
from medproof.training.losses import weighted_token_loss
from medproof.training.optim import apply_gradients, make_optimizer
from medproof.training.recipe import Recipe
from medproof.training.rollout.weights import bare, copy_weights
from medproof.training.session import Session, TrainProgress
from medproof.training.setup import Setup, set_up
from medproof.training.targets import TargetBatch, collate


class TargetLoss(nn.Module):
    """The net with the loss as its forward pass, so that data-parallel wrappers see one module."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self._no_split_modules = bare(net)._no_split_modules  # FSDP shards layer by layer

    def forward(self, batch: TargetBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """((B,), (B,)): weighted loss and weight per row."""
        inner = bare(self.net)
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

    `stop_at`: leave after that many steps with a checkpoint and a model.
    Raises TrainingError when the loss stops being finite, naming the step and the items of the batch; UserError for
    what the recipe asks for and this machine lacks.
    """
    session = Session(recipe, out, device)
    parts = set_up(recipe, session.accelerator.device)
    whole = copy.deepcopy(parts.net) if session.sharded else parts.net
    module: nn.Module = TargetLoss(parts.net)
    module, optimizer = session.accelerator.prepare(module, make_optimizer(module, recipe.optim))
    state, _ = session.begin(parts, resume)
    module.train()
    last = max(state.step, min(recipe.optim.steps, stop_at or recipe.optim.steps))
    for step in range(state.step, last):
        loss, lr = _step(session, module, optimizer, parts, recipe, step)
        session.log(step + 1, {"loss": loss, "lr": lr})
        if progress is not None:
            progress(TrainProgress(step + 1, recipe.optim.steps, f"loss {loss:.3f}"))
        if (step + 1) % recipe.checkpoint.every == 0 or step + 1 == last:
            session.save(step + 1)
    copy_weights(parts.net, whole)
    return session.finish(whole, parts, last)


def _step(
    session: Session, module: nn.Module, optimizer: Any, parts: Setup, recipe: Recipe, step: int
) -> tuple[float, float]:
    """One optimizer step over this process's share of the batch; returns (loss over the whole batch, learning rate)."""
    accelerator = session.accelerator
    examples = parts.stream.batch(step)
    share = [examples[i] for i in session.share(len(examples))]
    batches = [_collate(m, parts, recipe) for m in _micro_batches(share, recipe.optim.accumulation)]
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
    names = [example.item.id for example in examples]
    lr, _ = apply_gradients(accelerator, module, optimizer, recipe.optim, step, loss, names)
    return loss, lr


def _micro_batches(examples: Sequence[Example], count: int) -> list[list[Example]]:
    """Split so that equal reply lengths and image sizes meet; the gradient of the whole batch stays the same."""
    ordered = sorted(examples, key=lambda e: (e.mode, e.image.shape, e.item.id))
    size = math.ceil(len(ordered) / count)
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def _collate(examples: Sequence[Example], parts: Setup, recipe: Recipe) -> TargetBatch:
    return collate(parts.chat, parts.grid, examples, recipe.answer_weight, parts.pad_id)
