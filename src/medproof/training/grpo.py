"""GRPO (Shao et al. 2024, arXiv 2402.03300): sample groups, score them, take optimizer steps on them.

From top to bottom: set up, generate, score, optimise, log, save. The unit throughout is the group: one prompt, one
image and its G completions, never split between micro-batches or processes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medproof.models.special_ids import vision_ids
from medproof.training.advantages import group_advantages
from medproof.training.completions_log import CompletionsLog
from medproof.training.group_buffer import GroupBuffer
from medproof.training.groups import Group, Images, Prompt
from medproof.training.grpo_metrics import completion_metrics, reward_metrics
from medproof.training.grpo_recipe import GrpoRecipe
from medproof.training.logprobs import GroupLogprobs, reference_logprobs
from medproof.training.optim import apply_gradients, make_optimizer
from medproof.training.option_probs import answer_columns
from medproof.training.policy_loss import STATISTICS, PolicySettings, denominator, policy_loss, policy_metrics
from medproof.training.prefix_rows import GroupBatch, collate_groups
from medproof.training.prompt_stream import PromptStream, make_prompt
from medproof.training.rewards import RewardSet, load_reward
from medproof.training.rollout.engine import Engine, Sampling
from medproof.training.rollout.local import LocalEngine
from medproof.training.rollout.vllm import VllmEngine
from medproof.training.rollout.weights import bare, copy_weights
from medproof.training.session import Session, TrainProgress
from medproof.training.setup import Setup, TrainingData, set_up
from medproof.training.stopwatch import Stopwatch
from medproof.training.watch import Watch, choose


def train(
    recipe: GrpoRecipe,
    out: Path,
    resume: bool = False,
    progress: Callable[[TrainProgress], None] | None = None,
    device: str = "auto",
    stop_at: int | None = None,
) -> Path:
    """Run a recipe; returns the folder of the final model.

    `stop_at`: leave after that many steps with a checkpoint and a model.
    Raises TrainingError when the loss stops being finite, naming the step and the items of the batch; UserError for
    a reward function that fails and for what the recipe asks for and this machine lacks.
    """
    session = Session(recipe, out, device)
    run = _set_up(session, recipe)
    state, checkpoint = session.begin(run.parts, resume)
    run.tokens = state.counters.get("num_tokens", 0)
    if session.accelerator.is_main_process:
        run.completions.drop_after(state.step)
    if state.step == 0 and recipe.watch.every:
        session.log(0, _measure(run))
    buffer = None if checkpoint is None else _buffer_in_flight(run, checkpoint, state.step)
    last = max(state.step, min(recipe.optim.steps, stop_at or recipe.optim.steps))
    for step in range(state.step, last):
        clock = Stopwatch(session.accelerator.device)
        if buffer is None:
            buffer = _collect(run, step // recipe.cycle, clock)
        batch = buffer.select(run.places(step))
        row = _optimise(run, batch, step, clock) | _describe(run, batch) | clock.row()
        done = step + 1
        if _is_due(recipe.watch.every, done) or (recipe.watch.every and done == recipe.optim.steps):
            row |= _measure(run)
        session.log(done, row)
        if _is_due(recipe.completions.every, done) and session.accelerator.is_main_process:
            run.completions.write(done, batch.select(range(min(recipe.completions.groups, len(batch.groups)))))
        if progress is not None:
            progress(TrainProgress(done, recipe.optim.steps, f"reward {row['reward']:.3f}"))
        if done % recipe.cycle == 0:
            buffer = None
        if _is_due(recipe.checkpoint.every, done) or done == last:
            _save(run, buffer, done)
    copy_weights(run.parts.net, run.rollout_net)
    return session.finish(run.rollout_net, run.parts, last)


# -- set up -----------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """What the steps share.

    module: the policy's log-probabilities, wrapped for data parallelism. reference: the same of the initial model, None
    where the adapter is switched off instead or no reference is needed. rollout_net: what the engine samples from, the
    policy's own network or under FSDP an unsharded copy of it. watched: how many items, over all processes. tokens: of
    prompts and completions so far, over all processes.
    """

    session: Session
    recipe: GrpoRecipe
    parts: Setup
    module: nn.Module
    optimizer: Any
    reference: nn.Module | None
    rollout_net: Any
    engine: Engine
    rewards: RewardSet
    stream: PromptStream
    watch: Watch
    watched: int
    completions: CompletionsLog
    tokens: int = 0

    @property
    def device(self) -> torch.device:
        device: torch.device = self.session.accelerator.device
        return device

    @property
    def settings(self) -> PolicySettings:
        grpo = self.recipe.grpo
        return PolicySettings(grpo.loss_type, grpo.max_completion_length, grpo.epsilon, grpo.epsilon_high, grpo.beta)

    @property
    def share(self) -> range:
        """This process's places in a batch."""
        return self.session.share(self.recipe.optim.batch_size)

    def prompts(self, cycle: int) -> list[Prompt]:
        """This process's prompts of a generation cycle, batch after batch."""
        size, batches = self.recipe.optim.batch_size, self.recipe.grpo.steps_per_generation
        first = cycle * batches * size
        return self.stream.prompts([first + batch * size + place for batch in range(batches) for place in self.share])

    def places(self, step: int) -> range:
        """Where in the cycle's buffer the groups of optimizer step `step` are."""
        count = len(self.share)
        batch = step % self.recipe.cycle % self.recipe.grpo.steps_per_generation
        return range(batch * count, (batch + 1) * count)


def _set_up(session: Session, recipe: GrpoRecipe) -> Run:
    """Rewards, data, policy, reference, engine. The reference is the initial model: no checkpoint is loaded yet."""
    accelerator = session.accelerator
    rewards = RewardSet([load_reward(spec.name, spec.weight, spec.args) for spec in recipe.rewards])
    source = TrainingData(recipe.data, recipe.seed)
    source.check()
    watched = choose(source.dataset.items, recipe.watch, recipe.seed) if recipe.watch.every else ()
    if recipe.watch.held_out:
        source.hold_out({item.cluster for item in watched})
    parts = set_up(recipe, accelerator.device, source)
    net, chat, grid = parts.net, parts.chat, parts.grid
    rollout_net = copy.deepcopy(net) if session.sharded else net
    banned = vision_ids(bare(net))
    frozen = recipe.grpo.beta > 0 and recipe.model.lora is None
    reference = GroupLogprobs(copy.deepcopy(net), banned).eval().requires_grad_(False) if frozen else None
    module: nn.Module = GroupLogprobs(net, banned)
    module, optimizer = accelerator.prepare(module, make_optimizer(module, recipe.optim))
    mode = max(recipe.data.modes, key=lambda mode: recipe.data.modes[mode])
    mine = [watched[i] for i in session.share(len(watched))]
    asked = [make_prompt(chat, grid, item, mode, grid.render(source.pixels(item)), 0) for item in mine]
    return Run(
        session=session,
        recipe=recipe,
        parts=parts,
        module=module,
        optimizer=optimizer,
        reference=reference,
        rollout_net=rollout_net,
        engine=_engine(recipe, rollout_net, parts),
        rewards=rewards,
        stream=PromptStream(parts.stream, chat, grid, recipe.seed),
        watch=Watch(asked, recipe.grpo.max_completion_length),
        watched=len(watched),
        completions=CompletionsLog(session.out, rewards.names),
    )


def _engine(recipe: GrpoRecipe, net: Any, parts: Setup) -> Engine:
    if recipe.grpo.engine == "vllm":
        return VllmEngine(bare(net).name_or_path, net, parts.chat)
    mixed = torch.bfloat16 if recipe.mixed_precision == "bf16" else None
    return LocalEngine(net, parts.chat, parts.grid, autocast=mixed)


# -- generate and score -----------------------------------------------------------------------------------------------


def _collect(run: Run, cycle: int, clock: Stopwatch) -> GroupBuffer:
    """Sample this process's groups of a generation cycle, judge them, and compute what the updates hold them against.

    Old log-probabilities are needed where the groups are used after the first update or another engine wrote them.
    """
    grpo = run.recipe.grpo
    run.module.eval()
    with clock("rollout"):
        run.engine.sync(run.parts.net)
        prompts = run.prompts(cycle)
        sampling = Sampling(grpo.num_generations, grpo.max_completion_length, grpo.temperature, grpo.top_p, grpo.top_k)
        groups = run.engine.generate(prompts, Images.of_prompts(prompts), sampling)
    with clock("reward"):
        columns = answer_columns(run.rewards.needs, run.rollout_net, run.parts.chat, run.parts.grid, groups)
        scored = run.rewards.score(groups, columns)
    everyone = run.session.accelerator.gather(scored.totals.to(run.device)).cpu()  # [processes * N, G]
    first = run.session.accelerator.process_index * len(groups)
    advantages = group_advantages(everyone, grpo.scale_rewards)[first : first + len(groups)]
    buffer = GroupBuffer(tuple(groups), scored.rewards, scored.totals, advantages)
    with clock("logprobs"):
        if run.recipe.cycle > 1 or grpo.engine != "local":
            buffer = replace(buffer, old=_logprobs(run, buffer))
        if grpo.beta > 0:
            buffer = replace(buffer, reference=_logprobs(run, buffer, of_reference=True))
    written = sum(len(g.prompt.ids) * len(g.completions) + sum(len(c.ids) for c in g.completions) for g in groups)
    run.tokens += int(run.session.accelerator.reduce(torch.tensor(written, device=run.device), "sum"))
    return buffer


def _logprobs(run: Run, buffer: GroupBuffer, of_reference: bool = False) -> tuple[torch.Tensor, ...]:
    """Per group [G, L] on the CPU: what the policy or the reference gives its completions, without gradient.

    Cut into the micro-batches of the updates, so that the policy gives the same bits there; [G, 0] for groups that are
    in none of them.
    """
    count = len(run.share)
    found = [torch.zeros(len(group.completions), 0) for group in buffer.groups]
    for start in range(0, len(found), count):
        batch = buffer.select(range(start, start + count))
        for places in _micro_batches(run, batch):
            rows = _collate(run, [batch.groups[place] for place in places])
            with torch.no_grad(), run.session.accelerator.autocast():
                if of_reference:
                    logps = reference_logprobs(run.module, rows, run.reference, run.recipe.grpo.temperature)
                else:
                    logps = run.module(rows, run.recipe.grpo.temperature).logps
            for row, place in enumerate(places):
                found[start + place] = logps[row, :, : int(rows.mask[row].sum(-1).max())].cpu()
    return tuple(found)


# -- optimise ---------------------------------------------------------------------------------------------------------


def _optimise(run: Run, batch: GroupBuffer, step: int, clock: Stopwatch) -> dict[str, float]:
    """Optimizer step `step` (from 0) on this process's groups of the batch; what it says about the loss."""
    accelerator, recipe, device = run.session.accelerator, run.recipe, run.device
    cuts = _micro_batches(run, batch)
    learning = _learning(run, batch)
    total = accelerator.reduce(denominator(_mask(run, batch.groups), run.settings).to(device), "sum").clamp(min=1)
    summed = torch.zeros((), dtype=torch.float64, device=device)
    statistics = torch.zeros((*batch.totals.shape, len(STATISTICS)), dtype=torch.float64, device=device)
    run.module.train()
    with clock("backward"):
        for number, places in enumerate(cuts):
            part = batch.select(places)
            mask = _mask(run, part.groups).to(device)
            with accelerator.no_sync(run.module) if number < len(cuts) - 1 else nullcontext():
                now = run.module(_collate(run, part.groups), recipe.grpo.temperature, entropy=True)
                old, reference = (_padded(logps, mask) for logps in (part.old, part.reference))
                advantages = part.advantages.to(device)
                loss = policy_loss(now.logps, old, advantages, mask, reference, run.settings, now.entropy)
                # Data-parallel wrappers average gradients over processes; the loss is a sum over the whole batch.
                accelerator.backward(loss.numerators.sum() * accelerator.num_processes / total)
            summed += loss.numerators.detach().sum()
            statistics[places] = loss.statistics
    value = float(accelerator.reduce(summed, "sum") / total)
    with clock("optimizer"):
        items = [group.prompt.item.id for group in batch.groups]
        lr, norm = apply_gradients(accelerator, run.module, run.optimizer, recipe.optim, step, value, items)
    statistics[~learning] = 0
    gathered = accelerator.gather(statistics)
    learnt = gathered[gathered[..., 0].sum(-1) > 0]  # groups with tokens that were learnt from
    return {"loss": value, "lr": lr, "grad_norm": norm} | (policy_metrics(learnt) if len(learnt) else {})


def _micro_batches(run: Run, batch: GroupBuffer) -> list[list[int]]:
    """Places of the groups in micro-batches, rows of like length together.

    Groups without anything to learn are left out, all but one where a micro-batch would be empty: as data-parallel
    processes wait for each other, each takes equally many.
    """
    order = sorted(range(len(batch.groups)), key=lambda i: (_length(batch.groups[i]), i))
    size = len(order) // run.recipe.optim.accumulation
    cuts = [order[start : start + size] for start in range(0, len(order), size)]
    learning = _learning(run, batch).tolist()
    return [[place for place in cut if learning[place]] or cut[:1] for cut in cuts]


def _learning(run: Run, batch: GroupBuffer) -> torch.Tensor:
    """[B] bool: where all advantages are 0, loss and gradient are exactly 0, but for the KL term."""
    return (batch.advantages != 0).any(-1) | (run.recipe.grpo.beta > 0)


def _length(group: Group) -> int:
    """Tokens of the group's row."""
    return len(group.prompt.ids) + sum(len(completion.ids) for completion in group.completions)


def _collate(run: Run, groups: Sequence[Group]) -> GroupBatch:
    images = Images.of_prompts([group.prompt for group in groups])
    return collate_groups(run.parts.chat, run.parts.grid, groups, images, run.parts.pad_id).to(run.device)


def _mask(run: Run, groups: Sequence[Group]) -> torch.Tensor:
    """[B, G, L] bool: the tokens that are learnt from, without truncated completions if the recipe says so."""
    drop = run.recipe.grpo.mask_truncated_completions
    lengths = torch.tensor([[len(c.ids) for c in group.completions] for group in groups])
    kept = torch.tensor([[not (drop and c.truncated) for c in group.completions] for group in groups])
    return (torch.arange(int(lengths.max())) < lengths[..., None]) & kept[..., None]


def _padded(logps: tuple[torch.Tensor, ...] | None, mask: torch.Tensor) -> torch.Tensor | None:
    """Per group [G, L of the group] -> [B, G, L of the mask], zeros behind; None stays None."""
    if logps is None:
        return None
    padded = torch.zeros(mask.shape, dtype=torch.float32)
    for row, values in enumerate(logps):
        padded[row, :, : values.shape[-1]] = values
    return padded.to(mask.device)


# -- log and save -----------------------------------------------------------------------------------------------------


def _describe(run: Run, batch: GroupBuffer) -> dict[str, float]:
    """What was sampled and earned, over the whole batch of all processes."""
    lengths = torch.tensor([[len(c.ids) for c in group.completions] for group in batch.groups])
    truncated = torch.tensor([[c.truncated for c in group.completions] for group in batch.groups])
    columns = [*batch.rewards.unbind(-1), batch.totals, lengths.double(), truncated.double()]
    gathered = run.session.accelerator.gather(torch.stack(columns, dim=-1).to(run.device)).cpu()  # [B, G, R + 3]
    *rewards, totals, lengths, truncated = gathered.unbind(-1)
    return (
        reward_metrics(torch.stack(rewards, dim=-1), totals, run.rewards.names)
        | completion_metrics(lengths, truncated.bool())
        | {"num_tokens": float(run.tokens)}
    )


def _measure(run: Run) -> dict[str, float]:
    """Accuracy on the watched items, with and without the image."""
    run.engine.sync(run.parts.net)
    right = torch.tensor(run.watch.correct(run.engine), device=run.device)
    seen, blind = run.session.accelerator.reduce(right, "sum").tolist()
    return {"eval/accuracy": seen / run.watched, "eval/blank_accuracy": blind / run.watched}


def _is_due(every: int, step: int) -> bool:
    return every > 0 and step % every == 0


def _save(run: Run, buffer: GroupBuffer | None, step: int) -> None:
    """A checkpoint; inside a generation cycle with the groups in flight."""

    def write_groups(folder: Path) -> None:
        if buffer is not None:
            buffer.save(folder, run.session.accelerator.process_index)

    run.session.save(step, {"num_tokens": run.tokens}, write_groups)


def _buffer_in_flight(run: Run, checkpoint: Path, step: int) -> GroupBuffer | None:
    """What `_save` wrote; None at the border of two generation cycles."""
    if step % run.recipe.cycle == 0:
        return None
    return GroupBuffer.load(checkpoint, run.session.accelerator.process_index, run.prompts(step // run.recipe.cycle))
