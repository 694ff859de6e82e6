"""The train x test matrices as rows of ready text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medproof.report.tables import Cell, heat_cell
from medproof.report.wording import in_words
from medproof.scoring.transfer import ALL, BASE

NAMES = {"modality": "Modality", "question_type": "Question type"}
_ROWS = {BASE: "Before this training", ALL: "Trained on all"}


@dataclass(frozen=True)
class Matrix:
    """One condition's matrix. rows: (label, cells, overall, elsewhere); the diagonal is flagged."""

    group: str
    condition: str
    key: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...], Cell, Cell], ...]


def matrices(found: Mapping[str, Any] | None) -> list[Matrix]:
    """What `scoring.transfer.transfer` found, group after group, clean before blind."""
    return [
        Matrix(NAMES[group], in_words(key), key, tuple(table["columns"]), tuple(map(_row(table), table["rows"])))
        for group, by_condition in (found or {}).items()
        for key, table in by_condition.items()
    ]


def _row(table: Mapping[str, Any]) -> Any:
    def cells(row: Mapping[str, Any]) -> tuple[str, tuple[Cell, ...], Cell, Cell]:
        train = row["train"]
        shown = tuple(
            heat_cell(row["cells"].get(test), flag="own" if test == train else "") for test in table["columns"]
        )
        return _ROWS.get(train, train), shown, heat_cell(row["overall"]), heat_cell(row["elsewhere"])

    return cells
