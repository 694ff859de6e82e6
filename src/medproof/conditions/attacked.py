"""A batch of views under attack: their pixels, seeds and replies; and what an attack has found for each.

Everything here is indexed by place in the batch; an attack may run on some of them only.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from medproof.attacks import AttackResult
from medproof.attacks.minimal import MinimalResult
from medproof.attacks.smoothed import SmoothedScore
from medproof.attacks.vlm import Reader
from medproof.conditions.context import Context
from medproof.conditions.distances import distances
from medproof.conditions.evidence import Mask
from medproof.conditions.registry import check_model
from medproof.images.preprocess import to_float, to_uint8
from medproof.models.prompts import answer_prefix
from medproof.models.protocol import WhiteBox
from medproof.records import Condition, View
from medproof.seeds import derive_seed

SUMMED = ("forwards", "backwards", "queries", "restarts_used", "zero_gradients")
"""Numbers of one search that add up over several."""


@dataclass
class Found:
    """The best image of one view, and what it cost. `counts`: any of SUMMED.

    loss, success: of the score that drove the search. decoded_success: the reply to the image is not right; None where
    the attack did not ask for a reply. refreshed: whether the attack went on behind another rationale.
    """

    image: Tensor
    loss: float
    success: bool
    counts: dict[str, float] = field(default_factory=dict)
    broken: bool = False
    decoded_success: bool | None = None
    refreshed: bool | None = None

    def add_cost(self, other: "Found") -> None:
        """Take over what another search of the same view cost."""
        names = [name for name in SUMMED if name in self.counts or name in other.counts]
        self.counts = {name: self.counts.get(name, 0) + other.counts.get(name, 0) for name in names}
        self.broken |= other.broken

    @property
    def info(self) -> dict[str, float]:
        """The numbers for `View.info`."""
        info = {"success": float(self.success), **self.counts, "nan": float(self.broken)}
        if math.isfinite(self.loss):
            info["loss"] = self.loss
        if self.refreshed is not None:
            info["refreshed"] = float(self.refreshed)
        if self.decoded_success is not None:
            info |= {"success": float(self.decoded_success), "decoded_success": float(self.decoded_success)}
        return info


def found(result: AttackResult | MinimalResult, score: object, *, queries: bool = False) -> list[Found]:
    """One `Found` per example of a search; passes counted as the score says what a call of it takes.

    queries: the search asked for no gradient, and its passes are told as queries too.
    """
    forwards = int(getattr(score, "forwards_per_call", 1))
    backwards = score.draws if isinstance(score, SmoothedScore) else int(getattr(score, "backwards_per_call", 1))
    opening: Sequence[int] = getattr(score, "opening_forwards", [0] * len(result.images))
    rows = []
    for row, image in enumerate(result.images):
        asked = float(result.forwards[row]) * forwards
        counts = {
            "forwards": asked + opening[row],
            "backwards": float(result.backwards[row]) * backwards,
            "zero_gradients": float(result.zero_gradients[row]),
        }
        if queries:
            counts["queries"] = asked
        if isinstance(result, AttackResult):
            counts["restarts_used"] = float(result.restarts_used[row])
        loss, success, broken = float(result.loss[row]), bool(result.success[row]), bool(result.broken[row])
        rows.append(Found(image, loss, success, counts, broken))
    return rows


class Batch:
    """Prepared views, ready to be attacked. Raises UserError where the model cannot run the condition.

    masks: per view, the pixels (H, W) that may change; None: all.
    """

    def __init__(
        self, views: Sequence[View], condition: Condition, context: Context, masks: Sequence[Mask] | None = None
    ) -> None:
        check_model(condition, context.model)
        self.views, self.condition, self.context = list(views), condition, context
        self.model = cast(WhiteBox, context.model)
        self.device = getattr(context.model, "device", torch.device("cpu"))
        self.clean = [self._pixels(view) for view in self.views]
        self.masks = None if masks is None else [torch.from_numpy(np.array(mask)) for mask in masks]
        self.reader = Reader(context.model, self.views, context.seed)
        self._replies: dict[int, str] = {}  # to the clean images, up to the answer
        self._right: dict[int, bool] = {}

    @property
    def everyone(self) -> list[int]:
        return list(range(len(self.views)))

    @property
    def reasons(self) -> bool:
        """Whether the answer comes behind a rationale."""
        return self.context.mode == "think"

    def seeds(self, which: Sequence[int], purpose: str = "") -> list[int]:
        """The seeds of the condition, or of one of its parts."""
        own = [self.context.item_seed(self.views[i].item, self.condition) for i in which]
        return [derive_seed(seed, purpose, "part") for seed in own] if purpose else own

    def allowed(self, which: Sequence[int]) -> list[Tensor] | None:
        return None if self.masks is None else [self.masks[i] for i in which]

    def take(self, which: Sequence[int]) -> tuple[list[View], list[Tensor]]:
        """Views and clean pixels."""
        return [self.views[i] for i in which], [self.clean[i] for i in which]

    def prefixes(self, which: Sequence[int]) -> list[str] | None:
        """The reply before the answer slot: of the clean image where the model reasons first, else None."""
        if not self.reasons:
            return None
        self.read_clean(which)
        return [self._replies[i] for i in which]

    def read_clean(self, which: Sequence[int]) -> list[bool]:
        """Whether the model is right on the clean images; it replies to each once."""
        missing = [i for i in which if i not in self._right]
        replies = self.reader.replies([self.clean[i] for i in missing], missing)
        for i, text in zip(missing, replies, strict=True):
            self._replies[i], self._right[i] = answer_prefix(text), self.reader.is_right(i, text)
        return [self._right[i] for i in which]

    def judge(self, which: Sequence[int], results: Sequence[Found]) -> list[str]:
        """Let the model reply to the images found, note in the results whether it is wrong, return the replies."""
        replies = self.reader.replies([result.image for result in results], which)
        for i, result, text in zip(which, results, replies, strict=True):
            result.decoded_success = not self.reader.is_right(i, text)
        return replies

    def keep_clean_if_wrong(self, results: Sequence[Found]) -> None:
        """The clean image is a candidate too: take it where the reply to it is wrong, and to the image found right."""
        left = [i for i, result in enumerate(results) if not result.decoded_success]
        for i, right in zip(left, self.read_clean(left), strict=True):
            if not right:
                results[i].image, results[i].loss, results[i].decoded_success = self.clean[i].cpu(), math.nan, True

    def shown(
        self,
        results: Sequence[Found],
        about: Mapping[str, float],
        more: Callable[[int], Mapping[str, float]] = lambda _: {},
    ) -> list[View]:
        """All views with their images found; info of the attack (`about`), of the image, and `more` by place."""
        return [self._shown(i, result, {**about, **more(i)}) for i, result in enumerate(results)]

    def _shown(self, index: int, result: Found, about: Mapping[str, float]) -> View:
        view, image = self.views[index], to_uint8(result.image)
        assert view.image is not None  # `_pixels` has seen it
        info = {**about, **distances(view.image, image), **result.info}
        if self.reader.generations[index]:
            info["generations"] = float(self.reader.generations[index])
        return replace(view, image=image, info=info)

    def _pixels(self, view: View) -> Tensor:
        if view.image is None:
            raise ValueError(f"item {view.item.id!r} has no image to attack")
        return to_float(view.image).to(self.device)
