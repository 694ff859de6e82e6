"""The smallest perturbation that turns the reply: `cw`."""

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import torch

from medproof.attacks import ThreatModel
from medproof.attacks.carlini_wagner import cw_l2
from medproof.conditions.attacked import Batch, Found, found
from medproof.conditions.context import Context
from medproof.conditions.kind import Arguments
from medproof.conditions.objectives import Aim, score_of
from medproof.records import Condition, View

LEAD = 0.1
"""Nats of margin that the closest image must have: what another batch size or bf16 may take away."""
_STRETCHES = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0)
"""Lengths at which the model is asked for its reply, in units of the distance found, until the reply is wrong."""


def cw_views(views: Sequence[View], condition: Condition, given: Arguments, context: Context) -> list[View]:
    """`cw(l2, steps, search)`: margin at the slot, `search` values of the constant with `steps` steps each.

    The image found is judged by the reply to it, and moved outwards along its direction while that is right.
    """
    batch = Batch(views, condition, context)
    if not views:
        return []
    score = score_of(batch, batch.everyone, Aim("margin"))
    result = cw_l2(
        score,
        batch.clean,
        steps=int(given["steps"]),
        search_steps=int(given["search"]),
        seeds=batch.seeds(batch.everyone),
        kappa=LEAD,
    )
    results = found(result, score)
    _stretch(batch, results)
    batch.keep_clean_if_wrong(results)
    about = {"steps": float(given["steps"]), "search": float(given["search"])}
    return batch.shown(results, about)


def _stretch(batch: Batch, results: list[Found]) -> None:
    """Judge each image, and longer ones of its direction until one is wrong; the clean image where none is."""
    first = [replace(result) for result in results]
    todo = batch.everyone
    for factor in _STRETCHES:
        for i in todo:
            results[i].image = _longer(batch.clean[i].cpu(), first[i].image, factor)
        batch.judge(todo, [results[i] for i in todo])
        todo = [i for i in todo if not results[i].decoded_success and first[i].success]
        if not todo:
            return
    for i in todo:
        results[i].image = batch.clean[i].cpu()


def _longer(clean: torch.Tensor, image: torch.Tensor, factor: float) -> torch.Tensor:
    """The 8-bit image at `factor` times the distance of `image`, or as far as [0, 1] allows."""
    delta = (image - clean).double()
    length = float(delta.norm()) * factor
    if factor == 1 or length == 0:
        return image
    limit = Fraction(min(length, math.sqrt(delta.numel())))
    return ThreatModel("l2", limit).finish((clean + factor * delta).float()[None], clean[None])[0]
