"""The rationale audit as rows of ready text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medproof.report.run_view import RunView
from medproof.report.tables import Cell
from medproof.report.wording import MISSING, in_words, interval, percent, points
from medproof.scoring.claims import KINDS

COLUMNS = {
    "claims": "Claims",
    "checkable": "Checkable",
    "hedged": "Hedged",
    "accuracy": "Claims right",
    "wrong_reason": "Right, wrong reason",
    "answers_so": "Answers so",
}
CHANGES = {
    "accuracy": "Claims right, change",
    "both": "Story and answer",
    "story_only": "Story only",
    "letter_only": "Answer only",
    "neither": "Neither",
    "story_kept": "Same story where the answer changed",
}


@dataclass(frozen=True)
class Line:
    """One run under one condition; span: rows of the run on its first one, else 0."""

    run: RunView
    span: int
    condition: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class RationaleView:
    """What templates/rationale.html.j2 shows. kinds: the columns of `by_kind`."""

    lines: tuple[Line, ...]
    changes: tuple[Line, ...]
    kinds: tuple[str, ...]
    by_kind: tuple[Line, ...]


def rationale_view(runs: Sequence[RunView]) -> RationaleView | None:
    """Of the block `rationale` of the runs' summaries; None where no run has reasoning."""
    blocks = [(run, run.summary.get("rationale") or {}) for run in runs]
    if not any(told for _, told in blocks):
        return None
    made = {kind for _, told in blocks for found in told.values() for kind in found["by_kind"]}
    kinds = tuple(kind for kind in KINDS if kind in made)
    return RationaleView(
        lines=tuple(_lines(blocks, lambda found: tuple(_cell(found, name) for name in COLUMNS))),
        changes=tuple(_lines(blocks, _changes)),
        kinds=kinds,
        by_kind=tuple(_lines(blocks, lambda found: tuple(_cell(found["by_kind"], kind) for kind in kinds))),
    )


def _lines(
    blocks: Sequence[tuple[RunView, Mapping[str, Any]]],
    cells_of: Callable[[Mapping[str, Any]], tuple[Cell, ...] | None],
) -> Iterator[Line]:
    for run, told in blocks:
        rows = [(key, cells) for key, found in told.items() if (cells := cells_of(found)) is not None]
        for place, (key, cells) in enumerate(rows):
            yield Line(run, 0 if place else len(rows), in_words(key), cells)


def _changes(found: Mapping[str, Any]) -> tuple[Cell, ...] | None:
    changed = found["against_clean"]
    return None if changed is None else tuple(_cell(changed, name, name == "accuracy") for name in CHANGES)


def _cell(found: Mapping[str, Any], name: str, difference: bool = False) -> Cell:
    block = found.get(name)
    if block is None or block["value"] is None:
        return Cell(MISSING)
    if name == "claims":
        low_high = block["ci95"]
        return Cell(f"{block['value']:.1f}", f"{low_high[0]:.1f} to {low_high[1]:.1f}" if low_high else "")
    shown = points(block["value"]) if difference else percent(block["value"])
    return Cell(shown, f"{interval(block['ci95'])} · n {block['n']}".removeprefix(" · "))
