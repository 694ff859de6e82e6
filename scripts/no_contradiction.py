"""Attack certified items inside their certified balls, through the smoothed model: none may change its answer.

    medproof certify --model nano --data sample --sigma 0.25 --limit 150 --out runs/certified
    python scripts/no_contradiction.py runs/certified --items 100 --out runs/no_contradiction.json

Every attack is given the certified radius as its budget and the model's own certified answer as the one to leave. Both
the 8-bit image it ends with and the border of the ball in the same direction are put to the smoothed model, with fresh
noise, until one of the two leading answers leads beyond doubt: an exact sign test between them at 1e-9 after 64, 128,
... votes. Exits 1 where an answer changed.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from scipy.stats import binomtest
from torch import Tensor

from medproof import models
from medproof.attacks import (
    AttackResult,
    OptionScore,
    Score,
    SmoothedScore,
    ThreatModel,
    apgd,
    cw_l2,
    ddn,
    fgsm,
    pgd,
    random_noise,
    square,
)
from medproof.datasets import load
from medproof.evaluation.images import ImageLoader
from medproof.evaluation.provenance import hardware
from medproof.images.preprocess import to_float
from medproof.models.prompts import messages
from medproof.models.qwen_vl import QwenVL
from medproof.records import Certificate, View
from medproof.runs.certificates_file import read_certificates
from medproof.runs.meta import read_meta
from medproof.runs.versions import versions
from medproof.seeds import derive_seed
from medproof.smoothing.noise import noisy_copies, standard_normal
from medproof.smoothing.votes import BLOCK

DRAWS = 4
"""Noisy copies behind each gradient."""
LOOKS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
DOUBT = 1e-9
Attack = Callable[[Sequence[View], Sequence[Tensor], ThreatModel, Sequence[int]], Sequence[Tensor]]


def attacks(model: QwenVL, sigma: float, steps: int, pool: Sequence[Tensor]) -> dict[str, Attack]:
    """Name -> images in the same order; only directions of the result count, `inside` cuts them to the ball.

    pool: images of all items, to walk towards.
    """

    def through(views: Sequence[View], seeds: Sequence[int]) -> Score:
        return SmoothedScore(OptionScore(model, views), sigma=sigma, draws=DRAWS, seeds=seeds)

    def ball(search: Callable[..., AttackResult]) -> Attack:
        return lambda views, clean, threat, seeds: search(through(views, seeds), clean, threat, seeds=seeds).images

    def closest(search: Callable[..., Any]) -> Attack:
        return lambda views, clean, threat, seeds: search(through(views, seeds), clean, seeds=seeds).images

    def without_noise(views: Sequence[View], clean: Sequence[Tensor], threat: ThreatModel, seeds: Sequence[int]) -> Any:
        return pgd(OptionScore(model, views), clean, threat, steps=steps, seeds=seeds).images

    def one_step(views: Sequence[View], clean: Sequence[Tensor], threat: ThreatModel, seeds: Sequence[int]) -> Any:
        return fgsm(through(views, seeds), clean, threat).images

    def another_image(views: Sequence[View], clean: Sequence[Tensor], *_: Any) -> list[Tensor]:
        return [next((o for o in pool if o.shape == c.shape and not torch.equal(o, c)), c) for c in clean]

    return {
        "random direction": ball(partial(random_noise, draws=8)),
        "towards another image": another_image,
        "fgsm": one_step,
        "pgd": ball(partial(pgd, steps=steps)),
        "apgd": ball(partial(apgd, steps=steps)),
        "pgd without noise": without_noise,
        "square": ball(partial(square, queries=5 * steps)),
        "cw": closest(partial(cw_l2, steps=steps, search_steps=2)),
        "ddn": closest(partial(ddn, steps=steps)),
    }


def inside(found: Tensor, clean: Tensor, threat: ThreatModel) -> dict[str, Tensor]:
    """The 8-bit image in the ball, and the border in the same direction; nothing where the attack did not move."""
    delta = found.to(clean.device).double() - clean.double()
    length = float(delta.norm())
    if length == 0:
        return {}
    border = clean.double() + delta * (float(threat.eps) * (1 - 1e-6) / length)
    return {"8-bit": threat.finish(found.to(clean.device)[None], clean[None])[0], "border": border.float()}


def vote(model: QwenVL, image: Tensor, view: View, sigma: float, key: int) -> tuple[int | None, int]:
    """The option that leads beyond doubt, None for none, and how many votes it took."""
    counts = torch.zeros(len(view.item.options), dtype=torch.long)
    for look in LOOKS:
        for first in range(int(counts.sum()), look, BLOCK):
            normal = torch.from_numpy(standard_normal(key, first, BLOCK, tuple(image.shape)))
            copies = noisy_copies(image, sigma, normal.to(image.device))
            ((logits,),) = model.copy_letters([copies], [[view]], BLOCK)
            counts += torch.bincount(logits.argmax(-1).cpu(), minlength=len(counts))
        (most, second), leaders = counts.topk(2)
        if binomtest(int(most), int(most + second)).pvalue < DOUBT:
            return int(leaders[0]), look
    return None, LOOKS[-1]


def try_items(
    model: QwenVL, pairs: Sequence[tuple[View, Certificate]], pool: Sequence[Tensor], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """One row per image shown to the smoothed model. All certificates have one radius."""
    threat = ThreatModel("l2", Fraction(pairs[0][1].radius))
    sigma = pairs[0][1].sigma
    views = [_against(view, certificate) for view, certificate in pairs]
    clean = [to_float(view.image).to(model.device) for view in views if view.image is not None]
    seeds = [derive_seed(args.seed, view.item.id, "no contradiction") for view in views]
    rows = []
    for name, attack in attacks(model, sigma, args.steps, pool).items():
        for view, found, start, seed in zip(views, attack(views, clean, threat, seeds), clean, seeds, strict=True):
            for kind, image in inside(found, start, threat).items():
                answer, votes = vote(model, image, view, sigma, derive_seed(seed, f"{name} {kind}", "fresh noise"))
                outcome = "undecided" if answer is None else "same" if answer == view.item.answer_index else "changed"
                rows.append({"item": view.item.id, "attack": name, "image": kind, "votes": votes, "outcome": outcome})
    return rows


def _against(view: View, certificate: Certificate) -> View:
    """The view with the certified answer in place of the right one: attacks lead away from it."""
    item = view.item.model_copy(update={"answer": certificate.predicted})
    return View(item, view.condition, view.mode, view.messages, view.image)


def certified_views(args: argparse.Namespace, model: QwenVL, meta: dict[str, Any]) -> list[tuple[View, Certificate]]:
    """The first certified items of the run, those with equal radii side by side."""
    sets = [one for one in read_certificates(args.run) if one.base == "option_argmax" and not one.rounded]
    if not sets:
        raise SystemExit(f"{args.run} holds no certificates of option_argmax: run medproof certify first")
    certificates = {c.item_id: c for c in sets[0].certificates if c.radius > 0}
    data = load(meta["dataset"] if args.data is None else args.data)
    images = ImageLoader(data, model.grid)
    items = [item for item in data.items if item.id in certificates][: args.items]
    pairs = [(View(i, "clean", "direct", messages(i, "direct"), images(i)), certificates[i.id]) for i in items]
    return sorted(pairs, key=lambda pair: (pair[1].radius, pair[0].item.id))


def main() -> int:
    """Attack, vote, count, and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder of medproof certify")
    parser.add_argument("--model", help="default: that of the run")
    parser.add_argument("--data", help="default: that of the run")
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    meta = read_meta(args.run)
    model = models.load(args.model or meta["model"], device=args.device)
    if model.weights_hash != meta["weights_hash"]:
        raise SystemExit(
            f"{args.run} was made with other weights than those of {model.name}: give its model as --model"
        )
    pairs, rows = certified_views(args, model, meta), []
    pool = [to_float(view.image).to(model.device) for view, _ in pairs if view.image is not None]
    for _, same in groupby(pairs, key=lambda pair: pair[1].radius):
        alike = list(same)
        for start in range(0, len(alike), args.batch):
            rows += try_items(model, alike[start : start + args.batch], pool, args)
            print(f"{len({row['item'] for row in rows})} items, {len(rows)} images tried", flush=True)
    names = dict.fromkeys(row["attack"] for row in rows)
    by = {name: Counter(row["outcome"] for row in rows if row["attack"] == name) for name in names}
    total = Counter(row["outcome"] for row in rows)
    radii = [certificate.radius for _, certificate in pairs]
    report = {
        "items": len(pairs),
        "images_tried": len(rows),
        "outcomes": total,
        "by_attack": by,
        "votes": sum(row["votes"] for row in rows),
        "radius": {"smallest": min(radii), "mean": sum(radii) / len(radii), "largest": max(radii)},
        "not_same": [row for row in rows if row["outcome"] != "same"],
        "setting": {k: str(v) for k, v in vars(args).items() if k not in ("out", "run")},
        "certificates": {name: getattr(pairs[0][1], name) for name in ("sigma", "alpha", "plan", "bound")},
        "versions": versions(),
        "hardware": hardware(str(model.device)),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for name, outcomes in by.items():
        print(f"{name:22} {dict(outcomes)}")
    print(f"{len(pairs)} items, {len(rows)} images inside their certified balls: {dict(total)}; written to {args.out}")
    return 1 if total["changed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
