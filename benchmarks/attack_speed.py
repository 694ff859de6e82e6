"""PGD image-steps per second and peak memory, ours beside the public way, in one run on one machine.

    python benchmarks/attack_speed.py --limit 48 --out benchmarks/results/attack_speed_cpu.json
    python benchmarks/attack_speed.py --random-qwen2-vl 2b --size 384 --limit 64 --out results.json

  pgd ours    the attack of `medproof run`, in batches, every step taken;
  pgd run     the same as `medproof run` calls it: an image leaves once it is wrong by 2 nats. `per_second` counts the
              steps it was spared too; `steps_taken` are those it took;
  pgd plain   the public way: one image at a time through the stock network, the stock image path written in torch,
              weights with gradients, a label on the answer's letter and so the logits of every position, `backward()`.
An image-step is a forward and backward pass of one image. `fooled` is the share whose 8-bit image loses the forced
choice, asked of every variant by the same code.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from fractions import Fraction

import torch
from side_by_side import Work, arguments, batches, measure, plain_inputs, run_all, write
from torch import Tensor

from medproof.attacks import OptionScore, ThreatModel, pgd
from medproof.attacks.threat import levels, to_images
from medproof.images.preprocess import patchify, to_float
from medproof.models.qwen_vl import QwenVL
from medproof.records import View

Told = Callable[[], dict[str, float]]
STEPS = 20
EPS = 8
ENOUGH = 2.0


def ours(model: QwenVL, views: list[View], args: argparse.Namespace) -> Told:
    return _ours(model, views, args, float("inf"))


def as_run(model: QwenVL, views: list[View], args: argparse.Namespace) -> Told:
    return _ours(model, views, args, ENOUGH)


def plain(model: QwenVL, views: list[View], args: argparse.Namespace) -> Told:
    model.net.requires_grad_(True)
    attacked = [_plain(model, view) for view in views]
    return lambda: {"fooled": _fooled(model, views, attacked, args), "steps_taken": len(views) * STEPS}


def _ours(model: QwenVL, views: list[View], args: argparse.Namespace, enough: float) -> Told:
    threat, done = ThreatModel("linf", Fraction(EPS, 255)), []
    for batch in batches(views, args.batch):
        score, clean = OptionScore(model, batch), [_pixels(model, view) for view in batch]
        done.append(pgd(score, clean, threat, steps=STEPS, seeds=range(len(batch)), enough=enough))
    attacked = [image for result in done for image in result.images]
    steps = sum(int(result.backwards.sum()) for result in done)
    return lambda: {"fooled": _fooled(model, views, attacked, args), "steps_taken": steps}


def _plain(model: QwenVL, view: View) -> Tensor:
    """PGD with a constant step on one image: [3, H, W], the last iterate."""
    inputs, clean = plain_inputs(model, view), _pixels(model, view)
    slot, letter = model.chat.answer_slot(view.item.letters), view.item.answer_index
    extra = torch.tensor([[*slot.context, slot.letters[letter]]], device=model.device)
    ids = torch.cat([inputs["input_ids"], extra], dim=1)
    types = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(extra)], dim=1)
    labels = torch.full_like(ids, -100)
    labels[0, -1] = ids[0, -1]
    eps, step = EPS / 255, 2.5 * EPS / 255 / STEPS
    delta = torch.empty_like(clean).uniform_(-eps, eps)
    for _ in range(STEPS):
        delta.requires_grad_(True)
        pixel_values, grid = patchify([(clean + delta).clamp(0, 1)], model.grid)
        loss = model.net(
            input_ids=ids,
            mm_token_type_ids=types,
            pixel_values=pixel_values.to(model.net.dtype),
            image_grid_thw=grid.to(model.device),
            labels=labels,
        ).loss
        loss.backward()
        assert delta.grad is not None
        delta = (delta + step * delta.grad.sign()).clamp(-eps, eps).detach()
    model.net.zero_grad(set_to_none=True)
    return (clean + delta).clamp(0, 1)


def _pixels(model: QwenVL, view: View) -> Tensor:
    assert view.image is not None
    return to_float(view.image).to(model.device)


def _fooled(model: QwenVL, views: list[View], attacked: list[Tensor], args: argparse.Namespace) -> float:
    """Share of the 8-bit images that lose the forced choice."""
    wrong = 0
    on_disk = [to_images(levels(image.to(model.device), exact=False)) for image in attacked]
    for start in range(0, len(views), args.batch):
        rows = slice(start, start + args.batch)
        with torch.no_grad():
            _, adversarial = OptionScore(model, views[rows])(on_disk[rows], range(len(views[rows])))
        wrong += int(adversarial.sum())
    return round(wrong / len(views), 4)


VARIANTS: dict[str, Work] = {"pgd ours": ours, "pgd run": as_run, "pgd plain": plain}


def main() -> None:
    """Measure every variant and write one JSON file."""
    args = arguments(__doc__, ["pgd"])
    if args.variant:
        print(json.dumps(measure(args, VARIANTS[args.variant], units=STEPS)))
        return
    results = run_all(__file__, args, list(VARIANTS))
    slow = results["pgd plain"]
    speedup = {
        "image-steps": results["pgd ours"]["per_second"] / slow["per_second"],
        "attacks": slow["seconds"] / results["pgd run"]["seconds"],
    }
    write(args, results, speedup)


if __name__ == "__main__":
    main()
