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
from medproof.training.adversarial_recipe import AdversarialSection, Shown
from medproof.training.adversary import Adversary, Rewarded
from medproof.training.checkpoint import TrainerState
from medproof.training.completions_log import CompletionsLog
from medproof.training.conditioning import Perturbed, Rows, rows_for, sample
from medproof.training.group_buffer import GroupBuffer
from medproof.training.groups import Group, Prompt
from medproof.training.grpo_metrics import adversarial_metrics, completion_metrics, reward_metrics
from medproof.training.grpo_recipe import GrpoRecipe
from medproof.training.inner_attack import InnerAttack
from medproof.training.logprobs import GroupLogprobs, TokenLogprobs, reference_logprobs
from medproof.training.loop import finish, run_steps
from medproof.training.optim import apply_gradients, make_optimizer
from medproof.training.option_probs import answer_columns
from medproof.training.policy_loss import STATISTICS, PolicySettings, denominator, policy_loss, policy_metrics
from medproof.training.prefix_rows import GroupBatch, collate_groups
from medproof.training.prompt_stream import PromptStream
from medproof.training.rewards import RewardSet, load_reward
from medproof.training.rollout.engine import Engine, Sampling
from medproof.training.rollout.local import LocalEngine
from medproof.training.rollout.vllm import VllmEngine
from medproof.training.rollout.weights import bare, copy_weights
from medproof.training.session import Session, TrainProgress
from medproof.training.setup import Setup, TrainingData, set_up
from medproof.training.stopwatch import Stopwatch
from medproof.training.watch import Watch, hold_out, watch_prompts


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
    Raises TrainingError when the loss stops being finite, naming the step and the items of the batch, and, after the
    model is written, where `watch.stop_when_blind` ended the run; UserError for a reward function that fails and for
    what the recipe asks for and this machine lacks.
    """
    session = Session(recipe, out, device)
    run = _set_up(session, recipe)
    state, checkpoint = session.begin(run.parts, resume)
    if checkpoint is not None:
        _restore(run, checkpoint, state)
    if session.accelerator.is_main_process:
        run.completions.drop_after(state.step)
    done = run_steps(
        session,
        state,
        run.watch,
        lambda step: _step(run, step),
        lambda done: _save(run, done),
        headline="reward",
        progress=progress,
        stop_at=stop_at,
    )
    return finish(session, run.parts, run.rollout_net, run.watch, done)


def _step(run: Run, step: int) -> dict[str, float]:
    """Optimizer step `step` (from 0), with the generation before it where a cycle begins; what it says."""
    clock, recipe = Stopwatch(run.device), run.recipe
    if run.buffer is None:
        run.buffer = _collect(run, step // recipe.cycle, clock)
    batch = run.buffer.select(run.places(step))
    row = _optimise(run, batch, step, clock) | _describe(run, batch) | clock.row()
    done = step + 1
    if recipe.completions.every and done % recipe.completions.every == 0 and run.session.accelerator.is_main_process:
        kept = batch.select(range(min(recipe.completions.groups, len(batch.groups))))
        run.completions.write(done, kept, run.shown.rollout)
    if done % recipe.cycle == 0:
        run.buffer = None
    return row


_PLAIN = AdversarialSection(eps="0/255")


# -- set up -----------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """What the steps share.

    module: the policy's log-probabilities, wrapped for data parallelism. reference: the same of the initial model, None
    where the adapter is switched off instead or no reference is needed. rollout_net: what the engine samples from, the
    policy's own network or under FSDP an unsharded copy of it, and what is attacked. tokens: of prompts and completions
    so far, over all processes. buffer: the groups in flight, None at the border of two generation cycles.
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
    completions: CompletionsLog
    adversary: Adversary | None
    tokens: int = 0
    buffer: GroupBuffer | None = None

    @property
    def device(self) -> torch.device:
        device: torch.device = self.session.accelerator.device
        return device

    @property
    def settings(self) -> PolicySettings:
        grpo = self.recipe.grpo
        return PolicySettings(grpo.loss_type, grpo.max_completion_length, grpo.epsilon, grpo.epsilon_high, grpo.beta)

    @property
    def shown(self) -> AdversarialSection:
        """Which image each term sees; without an adversarial section there is no choice."""
        return self.recipe.adversarial or _PLAIN

    @property
    def attacks_rewards(self) -> bool:
        """Whether the attack needs completions and their rewards."""
        return self.adversary is not None and self.shown.kind == "pgd" and self.shown.objective == "policy"

    @property
    def suppressed(self) -> tuple[int, ...]:
        """Ids that cannot be sampled."""
        return tuple(vision_ids(bare(self.parts.net)))

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
    watched = hold_out(source, recipe.watch, recipe.seed)
    parts = set_up(recipe, accelerator.device, source)
    net, chat, grid = parts.net, parts.chat, parts.grid
    rollout_net = copy.deepcopy(net) if session.sharded else net
    banned = vision_ids(bare(net))
    frozen = recipe.grpo.beta > 0 and recipe.model.lora is None
    reference = GroupLogprobs(copy.deepcopy(net), banned).eval().requires_grad_(False) if frozen else None
    module: nn.Module = GroupLogprobs(net, banned)
    module, optimizer = accelerator.prepare(module, make_optimizer(module, recipe.optim))
    engine = _engine(recipe, rollout_net, parts)
    at_once = len(session.share(recipe.optim.batch_size)) // recipe.optim.accumulation
    attack = InnerAttack(rollout_net, parts.chat, parts.grid, at_once=at_once, autocast=_mixed(recipe))
    asked = watch_prompts([watched[i] for i in session.share(len(watched))], recipe.data.main_mode, parts)
    return Run(
        session=session,
        recipe=recipe,
        parts=parts,
        module=module,
        optimizer=optimizer,
        reference=reference,
        rollout_net=rollout_net,
        engine=engine,
        rewards=rewards,
        stream=PromptStream(parts.stream, chat, grid, recipe.seed),
        watch=Watch(session, parts.net, engine, attack, asked, len(watched), recipe.grpo.max_completion_length),
        completions=CompletionsLog(session.out, rewards.names),
        adversary=None if recipe.adversarial is None else Adversary(recipe.adversarial, attack),
    )


def _engine(recipe: GrpoRecipe, net: Any, parts: Setup) -> Engine:
    if recipe.grpo.engine == "vllm":
        return VllmEngine(bare(net).name_or_path, net, parts.chat)
    return LocalEngine(net, parts.chat, parts.grid, autocast=_mixed(recipe))


def _mixed(recipe: GrpoRecipe) -> torch.dtype | None:
    return torch.bfloat16 if recipe.mixed_precision == "bf16" else None


# -- generate and score -----------------------------------------------------------------------------------------------


def _collect(run: Run, cycle: int, clock: Stopwatch) -> GroupBuffer:
    """Sample this process's groups of a generation cycle, judge them, and compute what the updates hold them against.

    Old log-probabilities are needed where the groups are used after the first update or another engine wrote them.
    """
    grpo = run.recipe.grpo
    prompts = run.prompts(cycle)
    run.module.eval()
    with clock("rollout"):
        run.engine.sync(run.parts.net)
        if grpo.engine != "local":
            copy_weights(run.parts.net, run.rollout_net)
    perturbed = None if run.attacks_rewards else _perturb(run, prompts, cycle, clock)
    with clock("rollout"):
        sampling = Sampling(grpo.num_generations, grpo.max_completion_length, grpo.temperature, grpo.top_p, grpo.top_k)
        groups = sample(run.engine, prompts, perturbed, run.shown.rollout, sampling)
    with clock("reward"):
        columns = answer_columns(run.rewards.needs, run.rollout_net, run.parts.chat, run.parts.grid, groups)
        scored = run.rewards.score(groups, columns)
    everyone = run.session.accelerator.gather(scored.totals.to(run.device)).cpu()  # [processes * N, G]
    first = run.session.accelerator.process_index * len(groups)
    advantages = group_advantages(everyone, grpo.scale_rewards)[first : first + len(groups)]
    if run.attacks_rewards:
        rewarded = Rewarded(groups, advantages, _kept(run, groups), run.settings, grpo.temperature, run.suppressed)
        perturbed = _perturb(run, prompts, cycle, clock, rewarded)
    buffer = GroupBuffer(tuple(groups), scored.rewards, scored.totals, advantages, perturbed=perturbed)
    with clock("logprobs"):
        moved = perturbed is not None and run.shown.old != run.shown.policy
        if run.recipe.cycle > 1 or grpo.engine != "local" or moved:
            buffer = replace(buffer, old=_logprobs(run, buffer, run.shown.old))
        if grpo.beta > 0:
            buffer = replace(buffer, reference=_logprobs(run, buffer, run.shown.reference, of_reference=True))
    written = sum(len(g.prompt.ids) * len(g.completions) + sum(len(c.ids) for c in g.completions) for g in groups)
    run.tokens += int(run.session.accelerator.reduce(torch.tensor(written, device=run.device), "sum"))
    return buffer


def _perturb(
    run: Run, prompts: Sequence[Prompt], cycle: int, clock: Stopwatch, rewarded: Rewarded | None = None
) -> Perturbed | None:
    """The images of a generation cycle, attacked with the weights that it begins with."""
    if run.adversary is None:
        return None
    with clock("attack"):
        return run.adversary.perturb(prompts, run.recipe.grpo.num_generations, cycle * run.recipe.cycle, rewarded)


def _logprobs(run: Run, buffer: GroupBuffer, shown: Shown, of_reference: bool = False) -> tuple[torch.Tensor, ...]:
    """Per group [G, L] on the CPU: what the policy or the reference gives its completions, without gradient.

    Cut into the micro-batches of the updates, so that the policy gives the same bits there; [G, 0] for groups that are
    in none of them.
    """
    count = len(run.share)
    found = [torch.zeros(len(group.completions), 0) for group in buffer.groups]
    for start in range(0, len(found), count):
        batch = buffer.select(range(start, start + count))
        for places in _micro_batches(run, batch):
            part = batch.select(places)
            rows = rows_for(part.groups, part.perturbed, shown)
            collated = _collate(run, rows)
            with torch.no_grad(), run.session.accelerator.autocast():
                if of_reference:
                    logps = reference_logprobs(run.module, collated, run.reference, run.recipe.grpo.temperature)
                else:
                    logps = run.module(collated, run.recipe.grpo.temperature).logps
            logps = rows.merge(logps, len(places)).cpu()
            for row, group in enumerate(part.groups):
                found[start + places[row]] = logps[row, :, : max(len(c.ids) for c in group.completions)]
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
                now, penalty = _forward(run, part)
                old, reference = (_padded(logps, mask) for logps in (part.old, part.reference))
                advantages = part.advantages.to(device)
                loss = policy_loss(now.logps, old, advantages, mask, reference, run.settings, now.entropy, penalty)
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


def _forward(run: Run, part: GroupBuffer) -> tuple[TokenLogprobs, torch.Tensor | None]:
    """Log-probabilities and entropies of the groups, and the TRADES term per token where there is one."""
    weight = run.shown.trades
    rows = rows_for(part.groups, part.perturbed, run.shown.policy, twins=weight > 0)
    clean = 1 if run.shown.policy == "attacked" else 0
    now = run.module(_collate(run, rows), run.recipe.grpo.temperature, entropy=True, twins=rows.twins, clean=clean)
    logps, entropy = (rows.merge(values, len(part.groups)) for values in (now.logps, now.entropy))
    penalty = None if now.divergence is None else weight * rows.merge(now.divergence, len(part.groups))
    return TokenLogprobs(logps, now.mask, entropy), penalty


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
    """[B] bool: where all advantages are 0, loss and gradient are exactly 0, but for the KL terms."""
    learning = (batch.advantages != 0).any(-1) | (run.recipe.grpo.beta > 0)
    if batch.perturbed is not None and run.shown.trades > 0:
        learning |= batch.perturbed.attacked.any(-1)
    return learning


def _length(group: Group) -> int:
    """Tokens of the group's row."""
    return len(group.prompt.ids) + sum(len(completion.ids) for completion in group.completions)


def _collate(run: Run, rows: Rows) -> GroupBatch:
    return collate_groups(run.parts.chat, run.parts.grid, rows.groups, rows.images, run.parts.pad_id).to(run.device)


def _mask(run: Run, groups: Sequence[Group]) -> torch.Tensor:
    """[B, G, L] bool: the tokens that are learnt from, without truncated completions if the recipe says so."""
    lengths = torch.tensor([[len(c.ids) for c in group.completions] for group in groups])
    return (torch.arange(int(lengths.max())) < lengths[..., None]) & _kept(run, groups)[..., None]


def _kept(run: Run, groups: Sequence[Group]) -> torch.Tensor:
    """[B, G] bool: the completions that are learnt from."""
    drop = run.recipe.grpo.mask_truncated_completions
    return torch.tensor([[not (drop and c.truncated) for c in group.completions] for group in groups])


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
        | ({} if run.adversary is None else _describe_attack(run, batch, totals))
    )


def _describe_attack(run: Run, batch: GroupBuffer, totals: torch.Tensor) -> dict[str, float]:
    """What was done to the images, and how rewards differ by it. totals: [B, G] of all processes."""
    seen = torch.zeros(batch.totals.shape, dtype=torch.bool)
    numbers = torch.full((len(batch.groups), 3), torch.nan)
    if batch.perturbed is not None:
        seen = batch.perturbed.attacked & (run.shown.rollout == "attacked")
        numbers = batch.perturbed.numbers([group.prompt.image for group in batch.groups])
    seen, numbers = (run.session.accelerator.gather(each.to(run.device)).cpu() for each in (seen, numbers))
    return adversarial_metrics(totals, seen, numbers)


def _save(run: Run, step: int) -> None:
    """A checkpoint; inside a generation cycle with the groups in flight."""
    accelerator = run.session.accelerator

    def write(folder: Path) -> None:
        if run.buffer is not None:
            run.buffer.save(folder, accelerator.process_index)
        if run.adversary is not None and accelerator.is_main_process:
            run.adversary.save(folder)

    run.session.save(step, {"num_tokens": run.tokens} | run.watch.counters(), write)


def _restore(run: Run, checkpoint: Path, state: TrainerState) -> None:
    """What `_save` wrote."""
    run.tokens = state.counters.get("num_tokens", 0)
    run.watch.restore(state.counters)
    if run.adversary is not None:
        run.adversary.load(checkpoint)
    if state.step % run.recipe.cycle:
        prompts = run.prompts(state.step // run.recipe.cycle)
        run.buffer = GroupBuffer.load(checkpoint, run.session.accelerator.process_index, prompts)
