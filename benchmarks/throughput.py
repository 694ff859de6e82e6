"""Views per second and peak memory, ours beside the plain way, in one run on one machine.

    python benchmarks/throughput.py --model nano --data sample --limit 192 --out benchmarks/results/throughput_cpu.json
    python benchmarks/throughput.py --random-qwen2-vl 2b --size 384 --out benchmarks/results/throughput_gpu.json

Peers are what one writes first with transformers alone:
  clean   one item at a time: stock processor, `model.generate`, weights as loaded;
  scored  one forward per item with the logits of every position.
Attacks: attack_speed.py.
"""

from __future__ import annotations

import argparse
import json

import torch
from side_by_side import Work, arguments, batches, measure, plain_inputs, run_all, write

from medproof.models.qwen_vl import QwenVL
from medproof.records import View


def clean_ours(model: QwenVL, views: list[View], args: argparse.Namespace) -> None:
    for batch in batches(views, args.batch):
        model.generate(batch, model.decoding("direct"))


def clean_plain(model: QwenVL, views: list[View], args: argparse.Namespace) -> None:
    for view in views:
        inputs = plain_inputs(model, view)
        with torch.no_grad():
            model.net.generate(**inputs, do_sample=False, max_new_tokens=model.decoding("direct").max_new_tokens)


def scored_ours(model: QwenVL, views: list[View], args: argparse.Namespace) -> None:
    for batch in batches(views, args.batch):
        model.option_logprobs(batch)


def scored_plain(model: QwenVL, views: list[View], args: argparse.Namespace) -> None:
    for view in views:
        with torch.no_grad():
            model.net(**plain_inputs(model, view)).logits[0, -1].log_softmax(-1).cpu()


VARIANTS: dict[str, Work] = {
    "clean ours": clean_ours,
    "clean plain": clean_plain,
    "scored ours": scored_ours,
    "scored plain": scored_plain,
}


def main() -> None:
    """Measure every variant and write one JSON file."""
    args = arguments(__doc__, ["clean", "scored"])
    if args.variant:
        print(json.dumps(measure(args, VARIANTS[args.variant])))
        return
    results = run_all(__file__, args, [v for v in VARIANTS if args.only is None or v.startswith(args.only)])
    kinds = sorted({name.split()[0] for name in results})
    write(args, results, {k: results[f"{k} ours"]["per_second"] / results[f"{k} plain"]["per_second"] for k in kinds})


if __name__ == "__main__":
    main()
