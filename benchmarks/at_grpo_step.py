"""What adversarial training costs: seconds and peak memory of a step of plain GRPO, of AT-GRPO, and done naively.

    python benchmarks/at_grpo_step.py --out benchmarks/results/at_grpo_step_cpu.json
    python benchmarks/at_grpo_step.py --shape 2b --size 384 --tokens 128 --out benchmarks/results/at_grpo_step_gpu.json

plain: GRPO. at: one perturbation per image, found before the rollout on the loss of the right answer, with frozen
weights, and shared by the completions of a group. naive: one perturbation per completion, found on the policy loss by
backward passes that fill the gradients of the weights too, and a row of its own for each completion. The same random
weights, prompts, gradient steps and tokens for all; one update per generation. Each in a process of its own.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from side_by_side import synchronise
from training_step import compare, parser, recipe_of, times, trained

from medproof.training.grpo_recipe import GrpoRecipe


def main() -> None:
    """Measure the three and write one JSON file."""
    compare(
        __file__,
        _arguments(),
        {"plain": lambda args, out: trained(recipe_of(args), out), "at": _attacked, "naive": naive},
        lambda results: {
            "times_plain": {
                side: round(results[side]["step_s"] / results["plain"]["step_s"], 2) for side in ("at", "naive")
            }
        },
    )


def _attacked(args: argparse.Namespace, out: Path) -> dict[str, Any]:
    attack = {"norm": "linf", "eps": args.eps, "steps": args.attack_steps}
    return trained(recipe_of(args, attack), out)


def naive(args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """The same step in a loop of its own: sample, judge, attack every completion, update on its own image."""
    from medproof.models.loading import pick_device
    from medproof.models.special_ids import vision_ids
    from medproof.training.logprobs import GroupLogprobs
    from medproof.training.optim import make_optimizer
    from medproof.training.prompt_stream import PromptStream
    from medproof.training.rewards import RewardSet, load_reward
    from medproof.training.rollout.local import LocalEngine
    from medproof.training.rollout.weights import bare
    from medproof.training.setup import set_up

    recipe, device = recipe_of(args), pick_device("auto")
    parts = set_up(recipe, device)
    module = GroupLogprobs(parts.net, vision_ids(bare(parts.net)))
    optimizer = make_optimizer(module, recipe.optim)
    engine = LocalEngine(parts.net, parts.chat, parts.grid)
    rewards = RewardSet([load_reward(spec.name, spec.weight, spec.args) for spec in recipe.rewards])
    stream = PromptStream(parts.stream, parts.chat, parts.grid, recipe.seed)
    seconds = []
    for step in range(recipe.optim.steps):
        prompts = stream.prompts(range(step * args.prompts, (step + 1) * args.prompts))
        synchronise()
        began = time.perf_counter()
        _naive_step(args, recipe, parts, module, optimizer, engine, rewards, prompts)
        synchronise()
        seconds.append(time.perf_counter() - began)
    return times(seconds[1:])


def _naive_step(
    args: argparse.Namespace,
    recipe: GrpoRecipe,
    parts: Any,
    module: Any,
    optimizer: Any,
    engine: Any,
    rewards: Any,
    prompts: Any,
) -> None:
    from medproof.images.preprocess import to_float
    from medproof.training.advantages import group_advantages
    from medproof.training.groups import Group, Images
    from medproof.training.policy_loss import PolicySettings, policy_loss
    from medproof.training.prefix_rows import collate_groups
    from medproof.training.rollout.engine import Sampling

    grpo = recipe.grpo
    device = next(module.parameters()).device
    groups = engine.generate(
        prompts, Images.of_prompts(prompts), Sampling(grpo.num_generations, grpo.max_completion_length)
    )
    advantages = group_advantages(rewards.score(groups).totals).flatten()
    singles = [Group(group.prompt, (completion,)) for group in groups for completion in group.completions]
    settings = PolicySettings(grpo.loss_type, grpo.max_completion_length, grpo.epsilon)
    total = sum(len(single.completions[0].ids) for single in singles)

    def backward(part: range, pixels: list[torch.Tensor]) -> None:
        images = Images(tuple(pixels), tuple(range(len(part))))
        rows = collate_groups(parts.chat, parts.grid, [singles[i] for i in part], images, parts.pad_id).to(device)
        logps = module(rows).logps
        weight = advantages[list(part)][:, None].to(device)
        loss = policy_loss(logps, None, weight, rows.mask, None, settings).numerators.sum() / total
        loss.backward()

    eps = int(args.eps.partition("/")[0]) / 255
    parts_of = [range(i, min(i + args.rows, len(singles))) for i in range(0, len(singles), args.rows)]
    attacked = []
    for part in parts_of:
        clean = [to_float(singles[i].prompt.image) for i in part]
        moved = [(x + torch.empty_like(x).uniform_(-eps, eps)).clamp(0, 1) for x in clean]
        for _ in range(args.attack_steps):
            pixels = [x.requires_grad_() for x in moved]
            backward(part, pixels)
            moved = [
                (x.detach() + 2.5 * eps / args.attack_steps * x.grad.sign()).clamp(c - eps, c + eps).clamp(0, 1)
                for x, c in zip(pixels, clean, strict=True)
                if x.grad is not None
            ]
        attacked.append(moved)
    optimizer.zero_grad()
    for part, pixels in zip(parts_of, attacked, strict=True):
        backward(part, pixels)
    torch.nn.utils.clip_grad_norm_(module.parameters(), recipe.optim.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad()


def _arguments() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--eps", default="4/255", help="L-inf")
    options.add_argument("--attack-steps", type=int, default=3)
    options.add_argument("--rows", type=int, default=32, help="completions in one pass of the naive way")
    return options.parse_args()


if __name__ == "__main__":
    main()
