"""One perturbation for all images: `universal`, fitted once per run.

It is fitted on the train items of the run's data set. Where the run has none (`--split test`), the items are halved by
patient, and each half is given what was fitted on the other: no image is attacked by a perturbation that saw it.
"""

from collections.abc import Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from medproof.attacks.objective import Score
from medproof.attacks.universal import apply_universal, universal
from medproof.conditions.attacked import Batch, Found, found
from medproof.conditions.context import Context
from medproof.conditions.distances import budget
from medproof.conditions.kind import Arguments
from medproof.conditions.objectives import ENOUGH, Aim, score_of
from medproof.conditions.swap import image_of
from medproof.conditions.white_box import threat_of
from medproof.datasets.dataset import sample_items
from medproof.records import Condition, Item, View
from medproof.seeds import derive_seed

T = TypeVar("T")

MOST = 256
"""Items that a perturbation is fitted on, at most: spread over modalities and question types."""
_BATCH = 16
"""Images of a step, and shown to the model at a time."""


def universal_views(views: Sequence[View], condition: Condition, given: Arguments, context: Context) -> list[View]:
    """`universal(norm, eps, steps)`: add the perturbation that belongs to each view."""
    batch = Batch(views, condition, context)
    results: dict[int, Found] = {}
    for half in (0, 1):
        which = [i for i in batch.everyone if half_of(batch.views[i].item, context) == half]
        if which:
            fit = partial(_fit, half, condition, given, context)
            results |= zip(
                which, _apply(batch, which, context.plan(f"{condition.key}/{half}", fit), given), strict=True
            )
    found_in_order = [results[i] for i in batch.everyone]
    if batch.reasons and views:
        batch.judge(batch.everyone, found_in_order)
    return batch.shown(found_in_order, {**budget(given), "steps": float(given["steps"])})


def half_of(item: Item, context: Context) -> int:
    """Which perturbation an item is given: 0 where there are train items to fit on, else that of its patient's half."""
    return derive_seed(context.seed, item.cluster, "universal half") % 2 if not _train(context) else 0


def fitted_on(half: int, context: Context) -> list[Item]:
    """The items that the perturbation of `half` is fitted on: one per image, of another half, at most `MOST`."""
    pool = _train(context) or [item for item in context.dataset.items if half_of(item, context) != half]
    distinct = list({image_of(item): item for item in pool}.values())
    return sample_items(distinct or context.dataset.items, MOST, context.seed)


def _train(context: Context) -> list[Item]:
    def find() -> list[Item]:
        return [item for item in context.dataset.items if item.split == "train"]

    return context.plan("universal train items", find)


def _fit(half: int, condition: Condition, given: Arguments, context: Context) -> Tensor:
    """Grey levels (3, H, W) of a perturbation."""
    views = [context.view(item, condition, context.load(item)) for item in fitted_on(half, context)]
    batch = Batch(views, condition, context)
    seed = derive_seed(context.seed, condition.key, f"universal {half}")
    for chunk in _chunks(batch.everyone):
        batch.prefixes(chunk)
    score = _in_chunks(score_of(batch, batch.everyone, Aim("margin")))
    grey, _ = universal(
        score, batch.clean, threat_of(given), steps=int(given["steps"]), seed=seed, batch=_BATCH, enough=ENOUGH
    )
    return grey


def _apply(batch: Batch, which: Sequence[int], grey: Tensor, given: Arguments) -> list[Found]:
    score = score_of(batch, which, Aim("margin"))
    with torch.no_grad():
        result = apply_universal(score, batch.take(which)[1], threat_of(given), grey)
    return found(result, score)


def _in_chunks(score: Score) -> Score:
    def asked(pixels: Sequence[Tensor], indices: Sequence[int], /) -> tuple[Tensor, Tensor]:
        parts = [score(few, places) for few, places in zip(_chunks(pixels), _chunks(indices), strict=True)]
        return torch.cat([loss for loss, _ in parts]), torch.cat([verdict for _, verdict in parts])

    return asked


def _chunks(values: Sequence[T]) -> list[Sequence[T]]:
    return [values[start : start + _BATCH] for start in range(0, len(values), _BATCH)]
