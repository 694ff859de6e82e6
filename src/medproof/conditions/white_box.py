"""Attacks with gradients within a ball, on prepared views: `fgsm`, `pgd`, `apgd`, `targeted`, `background`, `evidence`.

Raises UserError unless the model gives gradients; errors of the model pass through. `numbers` says what `View.info`
holds afterwards.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import cast

import numpy as np
from torch import Tensor

from medproof.attacks import AttackResult, Norm, ThreatModel, pgd
from medproof.attacks.fgsm import fgsm
from medproof.attacks.objective import Score
from medproof.attacks.pgd import apgd
from medproof.attacks.search import Search
from medproof.attacks.step_rules import StepRule
from medproof.conditions.attacked import Batch
from medproof.conditions.context import Context
from medproof.conditions.distances import budget
from medproof.conditions.evidence import Mask, evidence_mask
from medproof.conditions.kind import Arguments
from medproof.conditions.objectives import Aim, attack_and_judge
from medproof.records import Condition, View


def threat_of(given: Arguments) -> ThreatModel:
    return ThreatModel(cast(Norm, given["norm"]), Fraction(given["eps"]))


def fgsm_views(views: Sequence[View], condition: Condition, given: Arguments, context: Context) -> list[View]:
    """`fgsm(norm, eps, objective)`."""
    return _attacked(views, condition, given, context, one_step, Aim(given["objective"]))


def pgd_views(views: Sequence[View], condition: Condition, given: Arguments, context: Context) -> list[View]:
    """`pgd(norm, eps, steps, restarts, objective, rule, noise, draws, every)`."""
    rule = cast(StepRule, given["rule"])
    search = partial(pgd, steps=int(given["steps"]), restarts=int(given["restarts"]), rule=rule)
    every, draws, sigma = int(given["every"]), int(given["draws"]), float(Fraction(given["noise"]))
    return _attacked(views, condition, given, context, search, Aim(given["objective"], every, draws, sigma))


def apgd_views(views: Sequence[View], condition: Condition, given: Arguments, context: Context) -> list[View]:
    """`apgd(norm, eps, steps, restarts, objective)`."""
    search = partial(apgd, steps=int(given["steps"]), restarts=int(given["restarts"]))
    return _attacked(views, condition, given, context, search, Aim(given["objective"]))


def targeted_views(views: Sequence[View], condition: Condition, given: Arguments, context: Context) -> list[View]:
    """`targeted(norm, eps, steps)`: Auto-PGD towards each wrong option in turn."""
    search = partial(apgd, steps=int(given["steps"]))
    return _attacked(views, condition, given, context, search, Aim("targeted"))


def masked_views(views: Sequence[View], condition: Condition, given: Arguments, context: Context) -> list[View]:
    """`evidence(norm, eps, steps)` may change nothing but the evidence, `background` nothing of it."""
    masks = [_mask(view, context) for view in views]
    allowed = [~mask for mask in masks] if condition.name == "background" else masks
    share = [float(np.mean(mask)) for mask in allowed]
    batch = Batch(views, condition, context, allowed)
    search = partial(pgd, steps=int(given["steps"]))
    results = attack_and_judge(batch, Aim("margin"), search, threat_of(given)) if views else []
    return batch.shown(results, _about(given), lambda i: {"allowed_share": share[i]})


def one_step(
    score: Score,
    images: Sequence[Tensor],
    threat: ThreatModel,
    /,
    *,
    seeds: Sequence[int],
    allowed: Sequence[Tensor] | None = None,
    starts: Sequence[Tensor] | None = None,
    enough: float = math.inf,
) -> AttackResult:
    """`fgsm` as a `Search`: from the clean image always, and without randomness."""
    return fgsm(score, images, threat, allowed=allowed)


def _attacked(
    views: Sequence[View], condition: Condition, given: Arguments, context: Context, search: Search, aim: Aim
) -> list[View]:
    batch = Batch(views, condition, context)
    results = attack_and_judge(batch, aim, search, threat_of(given)) if views else []
    return batch.shown(results, _about(given))


def _about(given: Arguments) -> dict[str, float]:
    """Budget and effort as numbers."""
    effort = {name: float(given[name]) for name in ("steps", "restarts") if name in given}
    return {**budget(given), **effort}


def _mask(view: View, context: Context) -> Mask:
    mask = evidence_mask(view.item, context)
    assert mask is not None  # `prepare` made no view of such an item
    return mask
