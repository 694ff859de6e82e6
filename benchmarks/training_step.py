"""What the benchmarks of a training step share: sides in processes of their own, one recipe, one JSON file."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from random_model import save_random_model

from medproof.evaluation.provenance import hardware, versions
from medproof.training.grpo_recipe import GrpoRecipe

Side = Callable[[argparse.Namespace, Path], dict[str, Any]]
"""(arguments, a folder to write to) -> `step_s`, the median step time, and what else is known."""


def parser(about: str | None) -> argparse.ArgumentParser:
    """The options of every such benchmark."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--shape", choices=["nano", "2b"], default="nano")
    made.add_argument("--size", type=int, default=384, help="side of the images for --shape 2b")
    made.add_argument("--prompts", type=int, default=8)
    made.add_argument("--generations", type=int, default=8)
    made.add_argument("--tokens", type=int, default=32)
    made.add_argument("--steps", type=int, default=5, help="timed steps, after one that is not")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--side", help=argparse.SUPPRESS)
    made.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return made


def compare(
    script: str,
    args: argparse.Namespace,
    sides: Mapping[str, Side],
    ratios: Callable[[Mapping[str, dict[str, Any]]], dict[str, Any]],
    peers: Mapping[str, str] = {},
) -> None:
    """Measure every side on the same random weights, each in a process of its own, so that peak memory is its own too.

    ratios: what the results amount to. peers: versions of other libraries.
    """
    if args.side:
        print(json.dumps(_measure(sides[args.side], args)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        save_random_model(folder, args.shape, args.size, args.seed)
        results: dict[str, dict[str, Any]] = {}
        for side in sides:
            command = [sys.executable, script, *sys.argv[1:], "--side", side, "--folder", str(folder)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results[side] = json.loads(done.stdout.splitlines()[-1])
            print(f"{side:5} {results[side]}", flush=True)
    report = {
        "setting": {k: v for k, v in vars(args).items() if k not in ("out", "side", "folder")},
        "results": results,
        **ratios(results),
        "versions": versions() | dict(peers),
        "hardware": hardware("cuda:0" if torch.cuda.is_available() else "cpu"),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")
    print(f"{ratios(results)}; written to {args.out}")


def _measure(side: Side, args: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as out:
        row = side(args, Path(out))
    row["peak_rss_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    if torch.cuda.is_available():
        row["peak_gpu_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return row


def recipe_of(args: argparse.Namespace, adversarial: Mapping[str, Any] | None = None) -> GrpoRecipe:
    """One untimed step and `--steps` timed ones."""
    return GrpoRecipe.model_validate(
        {
            "model": {"init": str(args.folder), "dtype": "bfloat16" if torch.cuda.is_available() else "float32"},
            "data": {"train": "sample", "fresh_options": False},
            "optim": {"batch_size": args.prompts, "steps": args.steps + 1, "lr": 1e-6},
            "grpo": {"num_generations": args.generations, "max_completion_length": args.tokens},
            "rewards": [f"{Path(__file__).with_name('any_reward.py')}:any_reward"],
            "adversarial": adversarial,
            "checkpoint": {"every": 10**6},
        }
    )


def trained(recipe: GrpoRecipe, out: Path) -> dict[str, Any]:
    """The trainer itself, by its own clock."""
    from medproof.training.grpo import train

    train(recipe, out)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()][1:]
    split = {k: statistics.median(row[k] for row in rows) for k in sorted(rows[0]) if k.startswith("time/")}
    length = statistics.fmean(row["completions/mean_length"] for row in rows)
    return times([row["step_time"] for row in rows]) | {"mean_length": length} | split


def times(seconds: list[float]) -> dict[str, Any]:
    """Of timed steps."""
    return {"step_s": statistics.median(seconds), "steps_s": [round(one, 3) for one in seconds]}
