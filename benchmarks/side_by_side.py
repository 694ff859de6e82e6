"""What the speed benchmarks share: variants in processes of their own, the views, the plain model beside ours."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from random_model import qwen2_vl_2b_config, square_grid

from medproof import models
from medproof.conditions import Context, prepare, resolve
from medproof.datasets.load import load
from medproof.evaluation.images import ImageLoader
from medproof.evaluation.provenance import hardware
from medproof.models.attention import NAME as GROUPED
from medproof.models.loading import pick_device
from medproof.models.patch_embed import PatchProjection
from medproof.models.qwen_vl import QwenVL
from medproof.records import View
from medproof.runs.versions import versions

Work = Callable[[QwenVL, list[View], argparse.Namespace], Callable[[], dict[str, float]] | None]
"""(model, views, arguments) -> None, or what tells more about the work done, outside the time taken."""


def arguments(about: str | None, kinds: list[str]) -> argparse.Namespace:
    """The options of a speed benchmark. kinds: what --only may name."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--random-qwen2-vl", choices=["2b"], help="time Qwen2-VL-2B's shape with random weights")
    parser.add_argument("--size", type=int, default=384, help="side of the square images for the random model")
    parser.add_argument("--data", default="sample")
    parser.add_argument("--limit", type=int, default=192)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16"], help="of every variant")
    parser.add_argument("--only", choices=kinds)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    return parser.parse_args()


def run_all(script: str, args: argparse.Namespace, variants: list[str]) -> dict[str, dict[str, float]]:
    """`measure` for each variant in a process of its own, so that peak memory is its own too."""
    results = {}
    for variant in variants:
        command = [sys.executable, script, *sys.argv[1:], "--variant", variant]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        results[variant] = json.loads(done.stdout.splitlines()[-1])
        print(f"{variant:13} {results[variant]}", flush=True)
    return results


def write(args: argparse.Namespace, results: Mapping[str, Any], speedup: Mapping[str, float]) -> None:
    """One JSON file with results, setting, versions and hardware."""
    report = {
        "setting": {k: v for k, v in vars(args).items() if k not in ("out", "run", "variant", "only")},
        "results": results,
        "speedup": {name: round(value, 2) for name, value in speedup.items()},
        "versions": versions(),
        "hardware": hardware(str(pick_device(args.device))),
    }
    text = json.dumps(report, indent=2, sort_keys=True, default=str) + "\n"
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text, encoding="utf-8")
    print(f"speed-up: {report['speedup']}; written to {args.out}")


def measure(args: argparse.Namespace, work: Work, units: int = 1) -> dict[str, float]:
    """One variant, "KIND WHO": units per second after a warm-up, `units` to a view, and peak memory in MiB."""
    ours = not args.variant.endswith("plain")
    if args.random_qwen2_vl:
        model = random_qwen2_vl(args)
    else:
        model = models.load(args.model, device=args.device, dtype=args.dtype)
    assert isinstance(model, QwenVL)
    if not ours:
        undo_our_speed_ups(model)
    views = _views(model, args)
    work(model, views[: args.batch if ours else 2], args)
    synchronise()
    began = time.perf_counter()
    tell = work(model, views, args)
    synchronise()
    seconds = time.perf_counter() - began
    total = len(views) * units
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row = {"per_second": round(total / seconds, 2), "units": total, "seconds": round(seconds, 2), "peak_rss_mib": peak}
    if torch.cuda.is_available():
        row["peak_gpu_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return row if tell is None else {**row, **tell()}


def batches(views: list[View], size: int) -> list[list[View]]:
    return [views[i : i + size] for i in range(0, len(views), size)]


def plain_inputs(model: QwenVL, view: View) -> dict[str, Any]:
    """What a stock processor hands over for one item: template, tokens, pixels of the decoded image."""
    from PIL import Image

    assert view.image is not None
    out = model._image_processor(images=[Image.fromarray(view.image)], return_tensors="pt")
    ids = torch.tensor([model.chat.prompt_ids(view.messages, model.grid.tokens(*view.image.shape[:2]))])
    types = (ids == model.chat.image_token_id).long()
    tensors = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": types, **out}
    moved = {k: v.to(model.device) for k, v in tensors.items()}
    moved["pixel_values"] = moved["pixel_values"].to(model.net.dtype)
    return moved


def undo_our_speed_ups(model: QwenVL) -> None:
    """The network as transformers made it: attention image by image, the patch embedding as a convolution."""
    for module in model.net.modules():
        if isinstance(module, PatchProjection):
            module.__class__ = torch.nn.Conv3d
        config = getattr(module, "config", None)
        if getattr(config, "_attn_implementation", None) == GROUPED:
            config._attn_implementation = "sdpa"


def _views(model: QwenVL, args: argparse.Namespace) -> list[View]:
    data = load(args.data, split="test", limit=args.limit)
    context = Context(data, args.seed, "direct", model, ImageLoader(data, model.grid))
    prepared = [v for v in prepare(resolve("clean"), data.items, context) if v is not None]
    return sorted(prepared, key=lambda v: (v.image.shape if v.image is not None else (), len(v.messages[0].text)))


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def random_qwen2_vl(args: argparse.Namespace) -> QwenVL:
    """Qwen2-VL-2B's shape with random weights and nano's tokenizer: for timing only."""
    from transformers import Qwen2VLForConditionalGeneration

    from medproof.models.chat import Chat
    from medproof.models.loading import load_processor, pick_attention, pick_device

    chat, _, _ = load_processor("nano")
    device = pick_device(args.device)
    config = qwen2_vl_2b_config(chat)
    config._attn_implementation = pick_attention("auto", device)
    with torch.device(device):
        net = Qwen2VLForConditionalGeneration(config).to(torch.bfloat16)
    grid = square_grid(args.size)
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil(size={"shortest_edge": grid.min_pixels, "longest_edge": grid.max_pixels})
    return QwenVL(net, Chat(chat.tokenizer, chat.image_token_id, "random-2b"), grid, processor, "random-2b")
