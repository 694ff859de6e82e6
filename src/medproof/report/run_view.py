"""One run as the page shows it: its summary, its label, its colour and shape, its verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medproof.report.svg import MARKERS
from medproof.report.verdict import Verdict, attacks_of, given_modality_of, text_prior_of, verdict
from medproof.report.wording import name_of

SIDE_BY_SIDE = 4
"""So many runs are told apart by colour and shape; of more, the page lists rather than overlays."""
_RANK = ("clean", "noimage", "blank", "shuffled")


@dataclass(frozen=True)
class RunView:
    """`style` is the CSS class of the run's colour, `marker` the shape of its points."""

    label: str
    style: str
    marker: str
    summary: dict[str, Any]
    verdict: Verdict

    @property
    def conditions(self) -> dict[str, dict[str, Any]]:
        return self.summary.get("conditions") or {}

    @property
    def attacks(self) -> dict[str, dict[str, Any]]:
        return attacks_of(self.summary)

    @property
    def text_prior(self) -> dict[str, Any] | None:
        return text_prior_of(self.summary)

    @property
    def given_modality(self) -> float | None:
        return given_modality_of(self.summary)

    def answered(self, key: str) -> dict[str, Any] | None:
        """The block of a condition that has at least one answer."""
        block = self.conditions.get(key)
        return block if block and block.get("n") and block.get("accuracy") is not None else None


def views(summaries: Sequence[dict[str, Any]]) -> list[RunView]:
    return [
        RunView(label, f"run{index % 4}", MARKERS[index % 4], summary, verdict(summary))
        for index, (label, summary) in enumerate(zip(labels(summaries), summaries))
    ]


def labels(summaries: Sequence[dict[str, Any]]) -> list[str]:
    """The shortest of "model · mode", "+ dataset", "+ run name", "+ number" that tells all runs apart."""
    parts = [
        [model_name(s), str(s.get("mode", "")), str(s.get("dataset", "")), str(s.get("name", ""))] for s in summaries
    ]
    for count in (2, 3, 4):
        found = [" · ".join(dict.fromkeys(filter(None, part[:count]))) or "run" for part in parts]
        if len(set(found)) == len(found):
            return found
    return [f"{label} · {index + 1}" for index, label in enumerate(found)]


def model_name(summary: dict[str, Any]) -> str:
    """The last part of a path or hub id: what people call the model. Of OUT/model, which training writes, OUT."""
    *_, folder, name = ["", *str(summary.get("model") or "model").rstrip("/").split("/")]
    return folder if name == "model" and folder else name


def condition_keys(runs: Sequence[RunView]) -> list[str]:
    """All condition keys of all runs: clean, the image controls, other conditions, then attacks by budget."""
    attacks = {key: block for run in runs for key, block in run.attacks.items()}
    keys = dict.fromkeys(key for run in runs for key in run.conditions)
    place = {key: number for number, key in enumerate(keys)}

    def rank(key: str) -> tuple[int, float, int]:
        if key in attacks:
            return (len(_RANK) + 1, float(attacks[key].get("eps_255") or 0), place[key])
        name = name_of(key)
        return (_RANK.index(name) if name in _RANK else len(_RANK), 0.0, place[key])

    return sorted(keys, key=rank)


def attack_keys(runs: Sequence[RunView]) -> list[str]:
    found = {key for run in runs for key in run.attacks}
    return [key for key in condition_keys(runs) if key in found]
