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
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from random_model import save_random_model

from medproof.evaluation.provenance import hardware, versions
from medproof.training.grpo_recipe import GrpoRecipe

SIDES = ("plain", "at", "naive")


def main() -> None:
    """Measure the three and write one JSON file."""
    args = _arguments()
    if args.side:
        print(json.dumps(measure(args)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        save_random_model(folder, args.shape, args.size, args.seed)
        results: dict[str, Any] = {}
        for side in SIDES:
            command = [sys.executable, __file__, *sys.argv[1:], "--side", side, "--folder", str(folder)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results[side] = json.loads(done.stdout.splitlines()[-1])
            print(f"{side:5} {results[side]}", flush=True)
    report = {
        "setting": {k: v for k, v in vars(args).items() if k not in ("out", "side", "folder")},
        "results": results,
        "times_plain": {s: round(results[s]["step_s"] / results["plain"]["step_s"], 2) for s in ("at", "naive")},
        "versions": versions(),
        "hardware": hardware("cuda:0" if torch.cuda.is_available() else "cpu"),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")
    print(f"times a plain step: {report['times_plain']}; written to {args.out}")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One side's median step time, its split where known, and peak memory in MiB."""
    with tempfile.TemporaryDirectory() as out:
        row = naive(args) if args.side == "naive" else trained(args, Path(out))
    row["peak_rss_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    if torch.cuda.is_available():
        row["peak_gpu_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return row


def recipe_of(args: argparse.Namespace) -> GrpoRecipe:
    """One untimed step and `--steps` timed ones; without the attack for every side but `at`."""
    attack = {"norm": "linf", "eps": args.eps, "steps": args.attack_steps}
    return GrpoRecipe.model_validate(
        {
            "model": {"init": str(args.folder), "dtype": "bfloat16" if torch.cuda.is_available() else "float32"},
            "data": {"train": "sample", "fresh_options": False},
            "optim": {"batch_size": args.prompts, "steps": args.steps + 1, "lr": 1e-6},
            "grpo": {"num_generations": args.generations, "max_completion_length": args.tokens},
            "rewards": [f"{Path(__file__).with_name('any_reward.py')}:any_reward"],
            "adversarial": attack if args.side == "at" else None,
            "checkpoint": {"every": 10**6},
        }
    )


def trained(args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """The trainer itself, by its own clock."""
    from medproof.training.grpo import train

    train(recipe_of(args), out)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()][1:]
    split = {k: statistics.median(row[k] for row in rows) for k in sorted(rows[0]) if k.startswith("time/")}
    return _times([row["step_time"] for row in rows]) | split


def naive(args: argparse.Namespace) -> dict[str, Any]:
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
        _synchronise()
        began = time.perf_counter()
        _naive_step(args, recipe, parts, module, optimizer, engine, rewards, prompts)
        _synchronise()
        seconds.append(time.perf_counter() - began)
    return _times(seconds[1:])


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


def _times(seconds: list[float]) -> dict[str, Any]:
    return {"step_s": statistics.median(seconds), "steps_s": [round(one, 3) for one in seconds]}


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["nano", "2b"], default="nano")
    parser.add_argument("--size", type=int, default=384, help="side of the images for --shape 2b")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--generations", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--eps", default="4/255", help="L-inf")
    parser.add_argument("--attack-steps", type=int, default=3)
    parser.add_argument("--rows", type=int, default=32, help="completions in one pass of the naive way")
    parser.add_argument("--steps", type=int, default=5, help="timed steps, after one that is not")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
