"""Seconds and peak memory of a GRPO step, ours beside TRL's, in one run on one machine.

    python benchmarks/grpo_step.py --out benchmarks/results/grpo_step_cpu.json
    python benchmarks/grpo_step.py --shape 2b --size 384 --tokens 128 --out benchmarks/results/grpo_step_gpu.json

Both sides get the same folder of random weights (a random model hardly ever ends its reply, so all completions have
`--tokens` tokens), the same prompts and images, one update per generation, no reference model, no gradient
checkpointing. Each runs in a process of its own, so that peak memory is its own too. Needs the `peers` extra.
"""

from __future__ import annotations

import argparse
from importlib import metadata
from pathlib import Path
from typing import Any

from PIL import Image
from training_step import compare, parser, recipe_of, trained

from medproof.datasets.load import load


def main() -> None:
    """Measure both sides and write one JSON file."""
    compare(
        __file__,
        parser(__doc__).parse_args(),
        {"trl": _trl, "ours": lambda args, out: trained(recipe_of(args), out)},
        lambda results: {"speedup": round(results["trl"]["step_s"] / results["ours"]["step_s"], 2)},
        {"trl": metadata.version("trl")},
    )


def _trl(args: argparse.Namespace, out: Path) -> dict[str, Any]:
    import trl_peer

    return trl_peer.step_times(args.folder, _prompts(args), args.generations, args.tokens, args.steps, out)


def _prompts(args: argparse.Namespace) -> list[tuple[str, Image.Image]]:
    """Questions and images of the sample, as many as are asked in one step."""
    from medproof.images.decode import decode
    from medproof.models.prompts import question_text

    data = load("sample", split="train", limit=args.prompts)
    return [(question_text(i, "direct"), Image.fromarray(decode(data.image_path(i)).pixels)) for i in data.items]


if __name__ == "__main__":
    main()
