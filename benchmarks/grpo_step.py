"""Seconds and peak memory of a GRPO step, ours beside TRL's, in one run on one machine.

    python benchmarks/grpo_step.py --out benchmarks/results/grpo_step_cpu.json
    python benchmarks/grpo_step.py --shape 2b --size 384 --tokens 128 --out benchmarks/results/grpo_step_gpu.json

Both sides get the same folder of random weights (a random model hardly ever ends its reply, so all completions have
`--tokens` tokens), the same prompts and images, one update per generation, no reference model, no gradient
checkpointing. Each runs in a process of its own, so that peak memory is its own too. Needs the `peers` extra.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from random_model import save_random_model

from medproof.datasets.load import load
from medproof.evaluation.provenance import hardware, versions

SIDES = ("trl", "ours")


def main() -> None:
    """Measure both sides and write one JSON file."""
    args = _arguments()
    if args.side:
        print(json.dumps(measure(args)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        args.folder = Path(scratch) / "model"
        save_random_model(args.folder, args.shape, args.size, args.seed)
        results = {}
        for side in SIDES:
            command = [sys.executable, __file__, *sys.argv[1:], "--side", side, "--folder", str(args.folder)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results[side] = json.loads(done.stdout.splitlines()[-1])
            print(f"{side:5} {results[side]}", flush=True)
    report = {
        "setting": {k: v for k, v in vars(args).items() if k not in ("out", "side", "folder")},
        "results": results,
        "speedup": round(results["trl"]["step_s"] / results["ours"]["step_s"], 2),
        "versions": versions() | {"trl": metadata.version("trl")},
        "hardware": hardware("cuda:0" if torch.cuda.is_available() else "cpu"),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")
    print(f"{report['speedup']} times as fast; written to {args.out}")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One side's median step time, its split where known, and peak memory in MiB."""
    with tempfile.TemporaryDirectory() as out:
        row = _trl(args, Path(out)) if args.side == "trl" else _ours(args, Path(out))
    row["peak_rss_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    if torch.cuda.is_available():
        row["peak_gpu_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return row


def _trl(args: argparse.Namespace, out: Path) -> dict[str, Any]:
    import trl_peer

    return trl_peer.step_times(args.folder, _prompts(args), args.generations, args.tokens, args.steps, out)


def _ours(args: argparse.Namespace, out: Path) -> dict[str, Any]:
    from medproof.training.grpo import train
    from medproof.training.grpo_recipe import GrpoRecipe

    recipe = GrpoRecipe.model_validate(
        {
            "model": {"init": str(args.folder), "dtype": "bfloat16" if torch.cuda.is_available() else "float32"},
            "data": {"train": "sample", "fresh_options": False},
            "optim": {"batch_size": args.prompts, "steps": args.steps + 1, "lr": 1e-6},
            "grpo": {"num_generations": args.generations, "max_completion_length": args.tokens},
            "rewards": [f"{Path(__file__).with_name('any_reward.py')}:any_reward"],
            "checkpoint": {"every": 10**6},
        }
    )
    train(recipe, out)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()][1:]
    split = {k: statistics.median(row[k] for row in rows) for k in sorted(rows[0]) if k.startswith("time/")}
    return {
        "step_s": statistics.median(row["step_time"] for row in rows),
        "steps_s": [round(row["step_time"], 3) for row in rows],
        "mean_length": statistics.fmean(row["completions/mean_length"] for row in rows),
        **split,
    }


def _prompts(args: argparse.Namespace) -> list[tuple[str, Image.Image]]:
    """Questions and images of the sample, as many as are asked in one step."""
    from medproof.images.decode import decode
    from medproof.models.prompts import question_text

    data = load("sample", split="train", limit=args.prompts)
    return [(question_text(i, "direct"), Image.fromarray(decode(data.image_path(i)).pixels)) for i in data.items]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["nano", "2b"], default="nano")
    parser.add_argument("--size", type=int, default=384, help="side of the images for --shape 2b")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--generations", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5, help="timed steps, after one that is not")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
