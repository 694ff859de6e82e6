"""What certificates cost: draws per decision, and noisy copies per second beside the plain way.

    python benchmarks/certify_cost.py draws --last 2048 --run runs/cost --out benchmarks/results/certify_draws.json
    python benchmarks/certify_cost.py speed --out benchmarks/results/certify_speed_cpu.json
    python benchmarks/certify_cost.py speed --random-qwen2-vl 2b --size 384 --limit 8 --batch 64 --out results.json

`draws`: the mean number of draws of the sequential plan that decides "the radius is at least r", for r/sigma of 0.5 and
1, beside a fixed 10,000 at the same alpha. Votes are kept in --run, so that it may be interrupted. `--last`: where the
plan ends at the latest; what is then open counts as not proven, `spent`.

`speed`: votes, a question asked about a noisy copy, per second; a variant runs in a process of its own.
  alone ours      one question on each image, by the vote engine;
  alone plain     the same as one writes it first: a copy at a time, noise in NumPy, an 8-bit picture, the stock
                  processor, the stock network, logits of every position;
  alone batched   the same in batches;
  shared ours     all questions of the data on each image, which share its copies; compared with `alone plain`, to which
                  a question is a question.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from side_by_side import random_qwen2_vl, run_all, synchronise, undo_our_speed_ups, write

from medproof import models
from medproof.datasets import Dataset
from medproof.datasets.load import load
from medproof.evaluation.certify import certificates_from_counts, certify_items
from medproof.evaluation.images import ImageLoader
from medproof.evaluation.provenance import run_meta
from medproof.models.prompts import messages
from medproof.models.qwen_vl import QwenVL
from medproof.records import View
from medproof.runs.store import RunStore
from medproof.smoothing.plans import Sequential
from medproof.smoothing.scheme import Scheme, parse_bound
from medproof.smoothing.votes import BLOCK, Draws, VoteEngine

FIXED = 10_000
RATIOS = (0.5, 1.0)
COPIES = 2 * BLOCK
"""Noisy copies of each image in `speed`."""
Work = Callable[[QwenVL, Sequence[View], argparse.Namespace], None]


def draws(args: argparse.Namespace) -> None:
    """Certify the test items once per target radius and write what it took."""
    model = models.load(args.model, device=args.device, dtype=args.dtype)
    data = load(args.data, split="test", limit=args.limit)
    run = args.run or Path(tempfile.mkdtemp())
    results = {f"r/sigma {ratio:g}": _decide(model, data, run, ratio, args) for ratio in RATIOS}
    for name, row in results.items():
        print(f"{name}: {row}", flush=True)
    write(args, results, {name: FIXED / row["mean_draws"] for name, row in results.items()})


def _decide(model: QwenVL, data: Dataset, run: Path, ratio: float, args: argparse.Namespace) -> dict[str, Any]:
    plan = Sequential(target=ratio * args.sigma, last=args.last)
    scheme = Scheme(args.sigma, args.alpha, parse_bound(args.bound), plan)
    engine = VoteEngine(model, args.sigma, batch=args.batch)
    meta = run_meta(model, args.model, data, [], mode="direct", seed=args.seed, split="test", limit=args.limit)
    began = time.perf_counter()
    with RunStore(run).create(meta, data.items) as store:
        done = certify_items(
            engine, scheme, data, store, mode="direct", seed=args.seed, load=ImageLoader(data, model.grid)
        )
    assert done.complete, done
    seconds = time.perf_counter() - began
    found, _ = certificates_from_counts(store, scheme, base="option_argmax", rounded=False)
    needed = np.array([c.n + c.n0 for c in found.certificates])
    stops = {stop: sum(c.stop == stop for c in found.certificates) for stop in ("proven", "hopeless", "spent")}
    return {
        "mean_draws": round(float(needed.mean()), 1),
        "median_draws": float(np.median(needed)),
        "most_draws": int(needed.max()),
        "decisions": len(needed),
        **stops,
        "draws_now": done.draws,
        "seconds": round(seconds, 1),
    }


def ours(model: QwenVL, views: Sequence[View], args: argparse.Namespace) -> None:
    engine = VoteEngine(model, args.sigma, batch=args.batch)
    engine.draw([Draws(view, _seed(view), 0, COPIES) for view in views])


def plain(model: QwenVL, views: Sequence[View], args: argparse.Namespace) -> None:
    _plain(model, views, args, 1)


def batched(model: QwenVL, views: Sequence[View], args: argparse.Namespace) -> None:
    _plain(model, views, args, min(args.batch, COPIES))


def _plain(model: QwenVL, views: Sequence[View], args: argparse.Namespace, batch: int) -> None:
    for view in views:
        assert view.image is not None
        slot = model.chat.answer_slot(view.item.letters)
        ids = torch.tensor([model.chat.prompt_ids(view.messages, model.grid.tokens(*view.image.shape[:2]))])
        ids = torch.cat([ids, torch.tensor([slot.context])], 1).to(model.device)
        random = np.random.default_rng(_seed(view))
        for _ in range(COPIES // batch):
            noise = random.normal(0, args.sigma, (batch, *view.image.shape))
            noisy = ((view.image / 255 + noise).clip(0, 1) * 255).round().astype(np.uint8)
            out = model._image_processor(images=[Image.fromarray(copy) for copy in noisy], return_tensors="pt")
            rows = ids.expand(batch, -1)
            with torch.no_grad():
                logits = model.net(
                    input_ids=rows,
                    mm_token_type_ids=(rows == model.chat.image_token_id).long(),
                    pixel_values=out["pixel_values"].to(model.device, model.net.dtype),
                    image_grid_thw=out["image_grid_thw"].to(model.device),
                ).logits
            logits[:, -1, list(slot.letters)].argmax(-1).cpu()


def _seed(view: View) -> int:
    return int(view.pixels_sha256[:8], 16)


VARIANTS: dict[str, Work] = {"alone ours": ours, "alone plain": plain, "alone batched": batched, "shared ours": ours}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One variant: votes per second after a warm-up, and peak memory in MiB."""
    how, who = args.variant.split()
    model = (
        random_qwen2_vl(args) if args.random_qwen2_vl else models.load(args.model, device=args.device, dtype=args.dtype)
    )
    if who != "ours":
        undo_our_speed_ups(model)
    images = _views(model, args)
    views = [view for group in images for view in (group if how == "shared" else group[:1])]
    VARIANTS[args.variant](model, views[:2], args)
    synchronise()
    began = time.perf_counter()
    VARIANTS[args.variant](model, views, args)
    synchronise()
    seconds = time.perf_counter() - began
    row = {
        "per_second": round(len(views) * COPIES / seconds, 2),
        "votes": len(views) * COPIES,
        "questions_per_image": round(len(views) / len(images), 2),
        "seconds": round(seconds, 2),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if torch.cuda.is_available():
        row["peak_gpu_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return row


def _views(model: QwenVL, args: argparse.Namespace) -> list[list[View]]:
    """The questions on each of the first `limit` images."""
    data = load(args.data, split="test")
    images = ImageLoader(data, model.grid)
    groups: dict[str, list[View]] = {}
    for item in data.items:
        if item.image in groups or len(groups) < args.limit:
            groups.setdefault(item.image, []).append(
                View(item, "clean", "direct", messages(item, "direct"), images(item))
            )
    return list(groups.values())


def main() -> None:
    """Measure and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["draws", "speed"])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--random-qwen2-vl", choices=["2b"], help="time Qwen2-VL-2B's shape with random weights")
    parser.add_argument("--size", type=int, default=384, help="side of the square images for the random model")
    parser.add_argument("--data", default="sample")
    parser.add_argument("--limit", type=int, help="items (draws) or images (speed; default 16)")
    parser.add_argument("--sigma", type=float, default=0.25)
    parser.add_argument("--alpha", type=float, default=0.001)
    parser.add_argument("--bound", default="simultaneous", help="simultaneous or one_class(N0), for draws")
    parser.add_argument("--last", type=int, default=FIXED, help="most draws of the sequential plan")
    parser.add_argument("--batch", type=int, default=BLOCK)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--run", type=Path, help="run folder for the votes of `draws`")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.what == "draws":
        draws(args)
        return
    args.limit = args.limit or 16
    if args.variant:
        print(json.dumps(measure(args)))
        return
    results = run_all(__file__, args, list(VARIANTS))
    slow = results["alone plain"]["per_second"]
    write(args, results, {name: row["per_second"] / slow for name, row in results.items() if name != "alone plain"})


if __name__ == "__main__":
    main()
