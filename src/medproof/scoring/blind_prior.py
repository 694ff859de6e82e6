"""A fitted text prior as the metrics take it: one accuracy, one per modality, or right and wrong per item."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from medproof.scoring.intervals import wilson
from medproof.scoring.numbers import Json, share


@dataclass(frozen=True)
class BlindPrior:
    """`whole`: {accuracy, ci95, n}; `by_modality` the same per modality; `correct` by item id where it is known."""

    whole: Json
    by_modality: Mapping[str, Json] = field(default_factory=dict)
    correct: Mapping[str, bool] | None = None

    @classmethod
    def read(cls, given: float | Mapping[str, Any] | None) -> BlindPrior | None:
        """From a number, or a mapping as in run.json: {"accuracy", "n"?, "ci95"?, "by_modality"?} or {"correct": ...}.

        None where nothing was fitted (no accuracy).
        """
        if given is None or isinstance(given, int | float):
            return None if given is None else cls(_cell({"accuracy": given}))
        correct = given.get("correct")
        if correct is not None:
            flags = {str(item_id): bool(hit) for item_id, hit in correct.items()}
            return cls(share(flags.values(), "accuracy"), correct=flags) if flags else None
        if given.get("accuracy") is None:
            return None
        parts = given.get("by_modality") or {}
        by = {name: _cell(cue) for name, cue in parts.items() if cue.get("accuracy") is not None}
        return cls(_cell(given), by)

    def within(self, modality: str, ids: Collection[str]) -> BlindPrior | None:
        """The prior on one modality; None where it is not known there."""
        if self.correct is not None:
            return BlindPrior.read({"correct": {i: hit for i, hit in self.correct.items() if i in ids}})
        return BlindPrior(self.by_modality[modality]) if modality in self.by_modality else None

    def column(self, ids: Collection[str]) -> list[float]:
        """Per item right (1) or wrong (0); where that is not known for all, the accuracy as a constant."""
        if self.correct is not None and all(i in self.correct for i in ids):
            return [float(self.correct[i]) for i in ids]
        return [float(self.whole["accuracy"])] * len(ids)


def _cell(given: Mapping[str, Any]) -> Json:
    accuracy, n, interval = float(given["accuracy"]), given.get("n"), given.get("ci95")
    if interval is None and n:
        interval = wilson(round(accuracy * n), n)
    return {"accuracy": accuracy, "ci95": None if interval is None else list(interval), "n": n}
