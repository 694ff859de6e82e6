"""A white-box attack on a batch of views: which score drives it, behind which rationale, and what is reported.

In modes where the answer opens the reply, the attack asks for the option margin there. In `think` mode the answer
comes after a rationale that the model writes itself, so the attack
1. lets the model reply to the clean image and attacks the answer behind that rationale;
2. lets it reply to the attacked image; where the reply is still right, attacks once more behind the new rationale,
   from the image it has, and keeps the second image if the reply to it is not right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

import torch
from torch import Tensor

from medproof.attacks import AttackResult, OptionScore, ThreatModel, pgd
from medproof.attacks.threat import Norm
from medproof.conditions.context import Context
from medproof.conditions.distances import budget, distances
from medproof.conditions.kind import Arguments
from medproof.conditions.registry import check_model
from medproof.images.preprocess import to_float, to_uint8
from medproof.models.prompts import answer_prefix
from medproof.models.protocol import Objective, WhiteBox
from medproof.records import Condition, View
from medproof.scoring.parse import parse

ENOUGH = 2.0
"""Nats of option margin at which an attack may stop early: a lead that survives another batch size and bf16. Not for
other objectives, which tell no lead, and not behind a rationale, where the margin is a stand-in for the reply."""

Search = Callable[[OptionScore, list[Tensor], list[int], list[Tensor] | None, float], AttackResult]
"""(score, clean images, seeds, starts, enough) -> result: a fixed-eps attack with its budget filled in."""


def pgd_views(views: Sequence[View], condition: Condition, given: Arguments, context: Context) -> list[View]:
    """`pgd(norm, eps, steps, restarts, objective)` on prepared views. See `attack_views`."""
    threat = ThreatModel(cast(Norm, given["norm"]), Fraction(given["eps"]))
    steps, restarts = int(given["steps"]), int(given["restarts"])

    def search(
        score: OptionScore, clean: list[Tensor], seeds: list[int], starts: list[Tensor] | None, enough: float
    ) -> AttackResult:
        return pgd(score, clean, threat, steps=steps, restarts=restarts, seeds=seeds, starts=starts, enough=enough)

    about = {**budget(given), "steps": float(steps), "restarts": float(restarts)}
    return attack_views(views, search, cast(Objective, given["objective"]), about, condition, context)


def attack_views(
    views: Sequence[View],
    search: Search,
    objective: Objective,
    about: dict[str, float],
    condition: Condition,
    context: Context,
) -> list[View]:
    """The views with attacked 8-bit images.

    `info` holds `about` and, per item: success (forced choice, 0/1), loss (nats), linf_255 and l2 measured, forwards,
    backwards, restarts_used, zero_gradients (steps), nan (0/1); in think mode also generations, refreshed (0/1) and
    decoded_success (0/1). Raises UserError unless the model gives gradients; errors of the model pass through.
    """
    if not views:
        return []
    attack = _Attack(views, search, objective, about, condition, context)
    return attack.behind_rationale() if context.mode == "think" else attack.at_once()


@dataclass(eq=False)
class _Attack:
    """One call of `attack_views`."""

    views: Sequence[View]
    search: Search
    objective: Objective
    about: dict[str, float]
    condition: Condition
    context: Context

    def __post_init__(self) -> None:
        check_model(self.condition, self.context.model)
        self.model = cast(WhiteBox, self.context.model)
        self.clean = [self._pixels(view) for view in self.views]
        self.seeds = [self.context.item_seed(view.item, self.condition) for view in self.views]

    def at_once(self) -> list[View]:
        """Attack the answer that opens the reply."""
        everyone = list(range(len(self.views)))
        return self._run(everyone, None, None, ENOUGH if self.objective == "margin" else float("inf"))

    def behind_rationale(self) -> list[View]:
        """Attack the answer behind the model's own rationale, and once more behind the one that the attack leads to."""
        everyone = list(range(len(self.views)))
        first = self._run(everyone, self._prefixes(self._replies(self.views)), None, float("inf"))
        replies = self._replies(first)
        right = [i for i in everyone if self._is_right(first[i], replies[i])]
        done = [_add(view, generations=2, refreshed=0, decoded_success=1) for view in first]
        if not right:
            return done
        again = [first[i] for i in right]
        second = self._run(
            right, self._prefixes([replies[i] for i in right]), [self._pixels(view) for view in again], float("inf")
        )
        for i, before, after, reply in zip(right, again, second, self._replies(second), strict=True):
            fooled = not self._is_right(after, reply)
            kept = after if fooled else before
            cost = {name: before.info[name] + after.info[name] for name in ("forwards", "backwards")}
            done[i] = _add(kept, generations=3, refreshed=1, decoded_success=int(fooled), **cost)
        return done

    def _run(
        self, which: list[int], prefixes: list[str] | None, starts: list[Tensor] | None, enough: float
    ) -> list[View]:
        score = OptionScore(self.model, [self.views[i] for i in which], self.objective, prefixes)
        result = self.search(score, [self.clean[i] for i in which], [self.seeds[i] for i in which], starts, enough)
        return [self._shown(self.views[i], result, row, score.forwards_per_call) for row, i in enumerate(which)]

    def _shown(self, view: View, result: AttackResult, row: int, forwards_per_call: int) -> View:
        image = to_uint8(result.images[row])
        assert view.image is not None  # `_pixels` has seen it
        info = {
            **self.about,
            **distances(view.image, image),
            "success": float(result.success[row]),
            "loss": float(result.loss[row]),
            "forwards": float(result.forwards[row]) * forwards_per_call,
            "backwards": float(result.backwards[row]),
            "restarts_used": float(result.restarts_used[row]),
            "zero_gradients": float(result.zero_gradients[row]),
            "nan": float(result.broken[row]),
        }
        return replace(view, image=image, info=info)

    def _pixels(self, view: View) -> Tensor:
        if view.image is None:
            raise ValueError(f"item {view.item.id!r} has no image to attack")
        return to_float(view.image).to(self.model.device)

    def _replies(self, views: Sequence[View]) -> list[str]:
        with torch.no_grad():
            decoding = self.model.decoding(self.context.mode)
            return [reply.text for reply in self.model.generate(views, decoding, self.context.seed)]

    def _prefixes(self, replies: list[str]) -> list[str]:
        return [answer_prefix(text) for text in replies]

    def _is_right(self, view: View, reply: str) -> bool:
        return parse(reply, view.item.options, view.mode).choice == view.item.answer_index


def _add(view: View, **numbers: float) -> View:
    return replace(view, info={**view.info, **{name: float(value) for name, value in numbers.items()}})
