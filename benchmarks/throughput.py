"""Views per second and peak memory, ours beside the plain way, in one run on one machine.

    python benchmarks/throughput.py --model nano --data sample --limit 192 --out benchmarks/results/throughput_cpu.json
    python benchmarks/throughput.py --random-qwen2-vl 2b --size 384 --out benchmarks/results/throughput_gpu.json

Peers are what one writes first with transformers alone:
  clean   one item at a time: stock processor, `model.generate`, weights as loaded;
  scored  one forward per item with the logits of every position;
  pgd     one image at a time, weights with gradients, the logits of every position.
Every variant runs in a process of its own, so that peak memory is its own too.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from medproof import models
from medproof.conditions import Context, prepare, resolve
from medproof.datasets.dataset import Dataset
from medproof.datasets.load import load
from medproof.evaluation.images import ImageLoader
from medproof.evaluation.provenance import hardware, versions
from medproof.images.preprocess import patchify, to_float
from medproof.models.attention import NAME as GROUPED
from medproof.models.patch_embed import PatchProjection
from medproof.models.qwen_vl import QwenVL
from medproof.records import View

STEPS = 20
EPS = 8
VARIANTS = ("clean ours", "clean plain", "scored ours", "scored plain", "pgd ours", "pgd plain")


def main() -> None:
    """Measure every variant and write one JSON file."""
    args = _arguments()
    if args.variant:
        print(json.dumps(measure(args)))
        return
    results = {}
    for variant in VARIANTS if args.only is None else [v for v in VARIANTS if v.startswith(args.only)]:
        command = [sys.executable, __file__, *sys.argv[1:], "--variant", variant]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        results[variant] = json.loads(done.stdout.splitlines()[-1])
        print(f"{variant:13} {results[variant]}", flush=True)
    pairs = sorted({name.split()[0] for name in results})
    speedup = {p: results[f"{p} ours"]["per_second"] / results[f"{p} plain"]["per_second"] for p in pairs}
    report = {
        "setting": {k: v for k, v in vars(args).items() if k not in ("out", "variant", "only")},
        "results": results,
        "speedup": {name: round(value, 2) for name, value in speedup.items()},
        "versions": versions(),
        "hardware": hardware(args.device),
    }
    text = json.dumps(report, indent=2, sort_keys=True, default=str) + "\n"
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text, encoding="utf-8")
    print(f"speed-up: {report['speedup']}; written to {args.out}")


def measure(args: argparse.Namespace) -> dict[str, float]:
    """One variant: units per second (views, or image-steps for pgd) after a warm-up, and peak memory in MiB."""
    kind, who = args.variant.split()
    model = _random_qwen2_vl(args) if args.random_qwen2_vl else models.load(args.model, device=args.device)
    if who == "plain":
        _undo_our_speed_ups(model)
    data = load(args.data, split="test", limit=args.limit if kind != "pgd" else max(8, args.limit // 4))
    views = _views(model, data, args)
    work = VARIANT[kind, who]
    warm = views[: args.batch if who == "ours" else 2]
    work(model, warm, data, args)
    _synchronise()
    began = time.perf_counter()
    work(model, views, data, args)
    _synchronise()
    seconds = time.perf_counter() - began
    units = len(views) * (STEPS if kind == "pgd" else 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row = {"per_second": round(units / seconds, 2), "units": units, "seconds": round(seconds, 2), "peak_rss_mib": peak}
    if torch.cuda.is_available():
        row["peak_gpu_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return row


def clean_ours(model: QwenVL, views: list[View], data: Dataset, args: argparse.Namespace) -> None:
    for batch in _batches(views, args.batch):
        model.generate(batch, model.decoding("direct"))


def clean_plain(model: QwenVL, views: list[View], data: Dataset, args: argparse.Namespace) -> None:
    for view in views:
        inputs = _plain_inputs(model, view)
        with torch.no_grad():
            model.net.generate(**inputs, do_sample=False, max_new_tokens=model.decoding("direct").max_new_tokens)


def scored_ours(model: QwenVL, views: list[View], data: Dataset, args: argparse.Namespace) -> None:
    for batch in _batches(views, args.batch):
        model.option_logprobs(batch)


def scored_plain(model: QwenVL, views: list[View], data: Dataset, args: argparse.Namespace) -> None:
    for view in views:
        with torch.no_grad():
            model.net(**_plain_inputs(model, view)).logits[0, -1].log_softmax(-1).cpu()


def pgd_ours(model: QwenVL, views: list[View], data: Dataset, args: argparse.Namespace) -> None:
    """The condition as `medproof run` uses it, early stopping off so that both sides take every step."""
    from medproof.attacks import OptionScore, ThreatModel, pgd

    threat = ThreatModel("linf", _eps())
    for batch in _batches(views, args.batch):
        clean = [to_float(v.image).to(model.device) for v in batch if v.image is not None]
        pgd(OptionScore(model, batch, "margin", None), clean, threat, steps=STEPS, seeds=list(range(len(batch))))


def pgd_plain(model: QwenVL, views: list[View], data: Dataset, args: argparse.Namespace) -> None:
    model.net.requires_grad_(True)
    eps, step = EPS / 255, 2.5 * EPS / 255 / STEPS
    for view in views:
        assert view.image is not None
        inputs = _plain_inputs(model, view)
        clean = to_float(view.image).to(model.device)
        slot = model.chat.answer_slot(view.item.letters)
        extra = torch.tensor([slot.context], device=model.device)
        ids = torch.cat([inputs["input_ids"], extra], dim=1)
        types = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(extra)], dim=1)
        delta = torch.empty_like(clean).uniform_(-eps, eps)
        for _ in range(STEPS):
            delta.requires_grad_(True)
            pixel_values, grid = patchify([(clean + delta).clamp(0, 1)], model.grid)
            logits = model.net(
                input_ids=ids, mm_token_type_ids=types, pixel_values=pixel_values, image_grid_thw=grid.to(model.device)
            ).logits[0, -1]
            letters = logits[list(slot.letters)]
            wrong = torch.arange(len(letters), device=letters.device) != view.item.answer_index
            (letters[wrong].max() - letters[view.item.answer_index]).backward()
            assert delta.grad is not None
            delta = (delta + step * delta.grad.sign()).clamp(-eps, eps).detach()
        model.net.zero_grad(set_to_none=True)


VARIANT: dict[tuple[str, str], Callable[[QwenVL, list[View], Dataset, argparse.Namespace], None]] = {
    ("clean", "ours"): clean_ours,
    ("clean", "plain"): clean_plain,
    ("scored", "ours"): scored_ours,
    ("scored", "plain"): scored_plain,
    ("pgd", "ours"): pgd_ours,
    ("pgd", "plain"): pgd_plain,
}


def _undo_our_speed_ups(model: QwenVL) -> None:
    """The network as transformers made it: attention image by image, the patch embedding as a convolution."""
    for module in model.net.modules():
        if isinstance(module, PatchProjection):
            module.__class__ = torch.nn.Conv3d
        config = getattr(module, "config", None)
        if getattr(config, "_attn_implementation", None) == GROUPED:
            config._attn_implementation = "sdpa"


def _plain_inputs(model: QwenVL, view: View) -> dict[str, Any]:
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


def _views(model: QwenVL, data: Dataset, args: argparse.Namespace) -> list[View]:
    loader = ImageLoader(data, model.grid)
    context = Context(data, args.seed, "direct", model, loader)
    prepared = [v for v in prepare(resolve("clean"), data.items, context) if v is not None]
    return sorted(prepared, key=lambda v: (v.image.shape if v.image is not None else (), len(v.messages[0].text)))


def _batches(views: list[View], size: int) -> list[list[View]]:
    return [views[i : i + size] for i in range(0, len(views), size)]


def _eps() -> Any:
    from fractions import Fraction

    return Fraction(EPS, 255)


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _random_qwen2_vl(args: argparse.Namespace) -> QwenVL:
    """Qwen2-VL-2B's shape with random weights and nano's tokenizer: for timing only."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    from medproof.images.grid import Grid
    from medproof.models.chat import Chat
    from medproof.models.loading import load_processor, pick_attention, pick_device

    chat, _, _ = load_processor("nano")
    device = pick_device(args.device)
    ids = {t: int(chat.tokenizer.convert_tokens_to_ids(t)) for t in ("<|image_pad|>", "<|video_pad|>")}
    config = Qwen2VLConfig(
        text_config={
            "hidden_size": 1536,
            "intermediate_size": 8960,
            "num_hidden_layers": 28,
            "num_attention_heads": 12,
            "num_key_value_heads": 2,
            "vocab_size": 151936,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
        vision_config={"depth": 32, "embed_dim": 1280, "hidden_size": 1536, "num_heads": 16, "mlp_ratio": 4},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        tie_word_embeddings=True,
    )
    config._attn_implementation = pick_attention("auto", device)
    with torch.device(device):
        net = Qwen2VLForConditionalGeneration(config).to(torch.bfloat16)
    side = args.size
    grid = Grid(min_pixels=side * side - side * 28, max_pixels=side * side + side * 28)
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil(size={"shortest_edge": grid.min_pixels, "longest_edge": grid.max_pixels})
    return QwenVL(net, Chat(chat.tokenizer, chat.image_token_id, "random-2b"), grid, processor, "random-2b")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--random-qwen2-vl", choices=["2b"], help="time Qwen2-VL-2B's shape with random weights")
    parser.add_argument("--size", type=int, default=384, help="side of the square images for the random model")
    parser.add_argument("--data", default="sample")
    parser.add_argument("--limit", type=int, default=192)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", choices=["clean", "scored", "pgd"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
