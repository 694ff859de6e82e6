"""Supervised fine-tuning: set up, train, save. Loss on the target only, the answer letter weighed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medproof.models.batch import positions
from medproof.seeds import derive_seed
from medproof.training.adversary import Adversary
from medproof.training.attack_objectives import answer_row
from medproof.training.examples import Example
from medproof.training.grpo_metrics import perturbation_metrics
from medproof.training.inner_attack import InnerAttack
from medproof.training.loop import finish, run_steps
from medproof.training.losses import weighted_divergence, weighted_token_loss
from medproof.training.optim import apply_gradients, make_optimizer
from medproof.training.prompt_stream import make_prompt
from medproof.training.recipe import Recipe
from medproof.training.rollout.local import LocalEngine
from medproof.training.rollout.weights import bare, copy_weights
from medproof.training.session import Session, TrainProgress
from medproof.training.setup import Setup, TrainingData, set_up
from medproof.training.stopwatch import Stopwatch
from medproof.training.targets import TargetBatch, collate
from medproof.training.watch import Watch, hold_out, watch_prompts


class TargetLoss(nn.Module):
    """The net with the loss as its forward pass, so that data-parallel wrappers see one module."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self._no_split_modules = bare(net)._no_split_modules  # FSDP shards layer by layer

    def forward(self, batch: TargetBatch, twins: int = 0, clean: int = 1) -> tuple[torch.Tensor, torch.Tensor | None]:
        """((B - twins,), (twins,) or None): weighted loss and TRADES term per row.

        twins: the last so many rows are the first so many under the other image. clean: which of both sees the clean
        image, 0 the first rows, 1 the last.
        """
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
        rows = len(hidden) - twins
        loss, _ = weighted_token_loss(hidden[:rows], inner.lm_head, batch.labels[:rows], batch.weights[:rows])
        if not twins:
            return loss, None
        pair = (hidden[:twins], hidden[rows:])
        labels, weights = batch.labels[:twins], batch.weights[:twins]
        return loss, weighted_divergence(pair[clean], pair[1 - clean], inner.lm_head, labels, weights)


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
    Raises TrainingError when the loss stops being finite, naming the step and the items of the batch, and, after the
    model is written, where `watch.stop_when_blind` ended the run; UserError for what the recipe asks for and this
    machine lacks.
    """
    session = Session(recipe, out, device)
    run = _set_up(session, recipe)
    state, checkpoint = session.begin(run.parts, resume)
    run.watch.restore(state.counters)
    if run.adversary is not None and checkpoint is not None:
        run.adversary.load(checkpoint)
    done = run_steps(
        session,
        state,
        run.watch,
        lambda step: _step(run, step),
        lambda done: _save(run, done),
        headline="loss",
        progress=progress,
        stop_at=stop_at,
    )
    return finish(session, run.parts, run.whole, run.watch, done)


@dataclass
class Run:
    """What the steps share. module: the loss, wrapped for data parallelism. whole: the network itself, or under FSDP an
    unsharded copy of it, which is attacked and watched."""

    session: Session
    recipe: Recipe
    parts: Setup
    module: nn.Module
    optimizer: Any
    whole: Any
    watch: Watch
    adversary: Adversary | None


def _set_up(session: Session, recipe: Recipe) -> Run:
    source = TrainingData(recipe.data, recipe.seed)
    source.check()
    watched = hold_out(source, recipe.watch, recipe.seed)
    parts = set_up(recipe, session.accelerator.device, source)
    whole = copy.deepcopy(parts.net) if session.sharded else parts.net
    module: nn.Module = TargetLoss(parts.net)
    module, optimizer = session.accelerator.prepare(module, make_optimizer(module, recipe.optim))
    mixed = torch.bfloat16 if recipe.mixed_precision == "bf16" else None
    at_once = len(session.share(recipe.optim.batch_size)) // recipe.optim.accumulation
    attack = InnerAttack(whole, parts.chat, parts.grid, at_once=at_once, autocast=mixed)
    engine = LocalEngine(whole, parts.chat, parts.grid, autocast=mixed)
    asked = watch_prompts([watched[i] for i in session.share(len(watched))], recipe.data.main_mode, parts)
    longest = max((len(answer_row(parts.chat, p).completions[0].ids) for p in asked), default=1)
    return Run(
        session=session,
        recipe=recipe,
        parts=parts,
        module=module,
        optimizer=optimizer,
        whole=whole,
        watch=Watch(session, parts.net, engine, attack, asked, len(watched), 2 * longest),
        adversary=None if recipe.adversarial is None else Adversary(recipe.adversarial, attack),
    )


def _step(run: Run, step: int) -> dict[str, float]:
    """One optimizer step over this process's share of the batch; what it says about the whole batch."""
    recipe, accelerator = run.recipe, run.session.accelerator
    clock = Stopwatch(accelerator.device, parts=())
    examples = run.parts.stream.batch(step)
    places = run.session.share(len(examples))
    share = [examples[i] for i in places]
    numbers = torch.zeros(0, 3)
    if run.adversary is not None:
        with clock("attack"):
            share, numbers = _attacked(run, run.adversary, share, places, step)
    run.module.train()
    cuts = [_rows(run, cut) for cut in _micro_batches(share, recipe.optim.accumulation)]
    batches = [(_collate(rows, run.parts, recipe), twins) for rows, twins in cuts]
    mine = torch.stack([batch.weights[: len(batch.weights) - twins, 1:].sum() for batch, twins in batches]).sum()
    total_weight = accelerator.reduce(mine.to(accelerator.device), "sum")
    summed = torch.zeros((), device=accelerator.device)
    for number, (batch, twins) in enumerate(batches):
        syncing = number == len(batches) - 1
        with accelerator.no_sync(run.module) if not syncing else nullcontext():
            part = _loss(run, batch.to(accelerator.device), twins)
            # Data-parallel wrappers average gradients over processes; the loss is a sum over the whole batch.
            accelerator.backward(part * accelerator.num_processes / total_weight)
        summed += part.detach()
    loss = float(accelerator.reduce(summed, "sum") / total_weight)
    names = [example.item.id for example in examples]
    lr, _ = apply_gradients(accelerator, run.module, run.optimizer, recipe.optim, step, loss, names)
    row = {"loss": loss, "lr": lr}
    if run.adversary is not None:
        gathered = accelerator.gather(numbers.to(accelerator.device)).cpu()
        row |= perturbation_metrics(gathered) | clock.row()
    return row


def _attacked(
    run: Run, adversary: Adversary, examples: Sequence[Example], places: Sequence[int], step: int
) -> tuple[list[Example], torch.Tensor]:
    """The examples with perturbed images where they are attacked, and [N, 3] numbers of `Perturbed.numbers`."""
    recipe, parts = run.recipe, run.parts
    if adversary.section.is_on_at(step):
        copy_weights(parts.net, run.whole)
    first = step * recipe.optim.batch_size
    prompts = [
        make_prompt(parts.chat, parts.grid, e, derive_seed(recipe.seed, e.item.id, f"attack:{first + place}"))
        for e, place in zip(examples, places, strict=True)
    ]
    perturbed = adversary.perturb(prompts, 1, step)
    if perturbed is None:
        return list(examples), torch.full((len(examples), 3), torch.nan)
    shown = [replace(e, shown=image) for e, image in zip(examples, perturbed.images, strict=True)]
    return shown, perturbed.numbers([prompt.image for prompt in prompts])


def _rows(run: Run, examples: Sequence[Example]) -> tuple[list[Example], int]:
    """What a micro-batch is collated from: the perturbed examples before the others, behind them, with a TRADES term,
    the first ones under the other image; how many these are."""
    section = run.recipe.adversarial
    moved = [e for e in examples if e.shown is not None]
    if section is None or not moved:
        return list(examples), 0
    still = [e for e in examples if e.shown is None]
    clean = [replace(e, shown=None) for e in moved]
    first, other = (moved, clean) if section.policy == "attacked" else (clean, moved)
    twins = other if section.trades else []
    return [*first, *still, *twins], len(twins)


def _loss(run: Run, batch: TargetBatch, twins: int) -> torch.Tensor:
    """The loss summed over a micro-batch, with the TRADES term where there is one."""
    section = run.recipe.adversarial
    if section is None or not twins:
        losses, _ = run.module(batch)
        return torch.as_tensor(losses.sum())
    losses, divergence = run.module(batch, twins=twins, clean=1 if section.policy == "attacked" else 0)
    return torch.as_tensor(losses.sum() + section.trades * divergence.sum())


def _micro_batches(examples: Sequence[Example], count: int) -> list[list[Example]]:
    """Split so that like lengths and equal image sizes meet; the gradient of the whole batch stays the same."""
    ordered = sorted(examples, key=lambda e: (e.mode, len(e.before), e.image.shape, e.item.id))
    size = math.ceil(len(ordered) / count)
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def _collate(examples: Sequence[Example], parts: Setup, recipe: Recipe) -> TargetBatch:
    return collate(parts.chat, parts.grid, examples, recipe.answer_weight, parts.pad_id)


def _save(run: Run, step: int) -> None:
    def write(folder: Path) -> None:
        if run.adversary is not None and run.session.accelerator.is_main_process:
            run.adversary.save(folder)

    run.session.save(step, run.watch.counters(), write)
