"""A model of ours as a `Voter`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medproof.images.grid import Grid
from medproof.models.protocol import Model, Reply
from medproof.records import Item, Mode, View
from medproof.scoring.parse import parse
from medproof.smoothing.votes import Base, Draws, VoteEngine, Votes


class Smoothed:
    """`VoteEngine`, and what the same model says without noise. Raises UserError as it does."""

    def __init__(self, model: Model, sigma: float, base: Base, batch: int) -> None:
        self._engine = VoteEngine(model, sigma, base=base, batch=batch)
        self._model = self._engine.model
        self.name = Path(model.name).name  # not where it lies
        self.weights_hash, self.processor_hash = model.weights_hash, model.processor_hash
        self.sigma, self.base = sigma, str(base)
        self.mode: Mode = "direct" if base == "option_argmax" else "think"

    @property
    def grid(self) -> Grid | None:
        return self._model.grid

    def classes(self, item: Item) -> tuple[str, ...]:
        return self._engine.classes(item)

    def draw(self, requests: Sequence[Draws]) -> list[Votes]:
        return self._engine.draw(requests)

    def choices(self, views: Sequence[View]) -> list[str | None]:
        if self.base == "option_argmax":
            scores = self._model.option_logprobs(views)
            return [view.item.options[int(row.argmax())] for view, row in zip(views, scores, strict=True)]
        parsed = [parse(r.text, v.item.options, v.mode) for v, r in zip(views, self.replies(views), strict=True)]
        return [None if p.choice is None else v.item.options[p.choice] for v, p in zip(views, parsed, strict=True)]

    def replies(self, views: Sequence[View]) -> list[Reply]:
        return self._model.generate(views, self._model.decoding("think"))
