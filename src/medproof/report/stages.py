"""The table of training stages as rows of ready text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medproof.report.run_view import RunView, model_name
from medproof.report.tables import Cell, accuracy_cell
from medproof.report.wording import MISSING, in_short, in_words, interval, percent, points
from medproof.scoring.scored import CLEAN

PROMPTS = {"direct": "direct", "think": "think", "think_after": "think after"}
RA_COLUMNS = ("RA", "RA*", "Kept")
REASONING_COLUMNS = ("Tokens", "Readable", "Covers", "Claims right", "Right, wrong reason", "Answers so")


@dataclass(frozen=True)
class Head:
    """One attack, or the worst case over several."""

    short: str
    words: str


@dataclass(frozen=True)
class StageRow:
    """One run. cells: clean, blank, then `RA_COLUMNS` of each attack."""

    run: RunView
    stage: str
    model: str
    prompt: str
    checks: Cell
    standing: tuple[Cell, ...]
    attacks: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class ModalityRow:
    """One run and modality; span: rows of the run on its first one, else 0. attacks: RA and RA* of each attack."""

    row: StageRow
    span: int
    modality: str
    n: str
    standing: tuple[Cell, ...]
    attacks: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class ReasoningRow:
    """One run with rationales under one condition; span as in `ModalityRow`."""

    row: StageRow
    span: int
    condition: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class StagesView:
    """What templates/stages.html.j2 shows. tests: (rows compared, column, cells)."""

    heads: tuple[Head, ...]
    rows: tuple[StageRow, ...]
    modalities: tuple[ModalityRow, ...]
    reasoning: tuple[ReasoningRow, ...]
    tests: tuple[tuple[str, str, tuple[Cell, ...]], ...]
    not_compared: int


TEST_COLUMNS = ("Questions", "Difference", "Only the first", "Only the second", "p", "p (Holm)")


def stages_view(found: Mapping[str, Any] | None, runs: Sequence[RunView]) -> StagesView | None:
    """found: of `scoring.stages.stages` over the same runs."""
    if found is None:
        return None
    names = [column["name"] for column in found["columns"]]
    rows = [_row(block, runs[block["run"]], names) for block in found["rows"]]
    pairs = list(zip(rows, found["rows"], strict=True))
    return StagesView(
        heads=tuple(_head(column) for column in found["columns"]),
        rows=tuple(rows),
        modalities=tuple(line for row, block in pairs for line in _modalities(row, block, names)),
        reasoning=tuple(line for row, block in pairs for line in _reasoning(row, block)),
        tests=tuple(_test(test, rows) for test in found["tests"]),
        not_compared=len(found["not_compared"]),
    )


def _head(column: Mapping[str, Any]) -> Head:
    members = column["members"]
    if len(members) == 1:
        return Head(in_short(members[0]), in_words(members[0]))
    return Head(in_words(column["name"]), f"Worst case over {', '.join(in_words(key) for key in members)}")


def _row(block: Mapping[str, Any], run: RunView, names: Sequence[str]) -> StageRow:
    checked = block["validation"]
    return StageRow(
        run=run,
        stage=block["stage"],
        model=model_name(run.summary),
        prompt=PROMPTS.get(block["mode"], str(block["mode"])),
        checks=Cell(checked["state"], checked["name"].partition(" (")[0]),
        standing=_standing(block),
        attacks=tuple(_attack(block["cells"][name]) for name in names),
    )


def _standing(block: Mapping[str, Any]) -> tuple[Cell, ...]:
    return accuracy_cell(block["clean"]), accuracy_cell(block["blank"]), Cell(percent(block["chance"]))


def _attack(cell: Mapping[str, Any] | None) -> tuple[Cell, ...]:
    if cell is None:
        return (Cell("not run"), Cell(MISSING), Cell(MISSING))
    kept = percent(cell["kept"]["value"]).replace("-", "−")
    return (*_ra(cell), Cell(kept, interval(cell["kept"]["ci95"])))


def _ra(cell: Mapping[str, Any] | None) -> tuple[Cell, ...]:
    if cell is None:
        return Cell("not run"), Cell(MISSING)
    right, looking = cell["RA"], cell["RA_star"]
    unseen = Cell("needs blank") if looking["value"] is None else _share(looking)
    return _share(right), unseen


def _share(block: Mapping[str, Any]) -> Cell:
    return Cell(percent(block["value"]), interval(block["ci95"]))


def _modalities(row: StageRow, block: Mapping[str, Any], names: Sequence[str]) -> list[ModalityRow]:
    groups = block["by"]["modality"]
    return [
        ModalityRow(
            row=row,
            span=0 if place else len(groups),
            modality=modality,
            n=str(group["clean"]["n"]),
            standing=_standing(group),
            attacks=tuple(_ra(group["cells"][name]) for name in names),
        )
        for place, (modality, group) in enumerate(groups.items())
    ]


def _reasoning(row: StageRow, block: Mapping[str, Any]) -> list[ReasoningRow]:
    told = block["reasoning"] or {}
    return [
        ReasoningRow(row, 0 if place else len(told), in_words(key), _rationale(found))
        for place, (key, found) in enumerate(told.items())
    ]


def _rationale(found: Mapping[str, Any]) -> tuple[Cell, ...]:
    tokens = found["tokens"]
    length = Cell(MISSING if tokens["value"] is None else f"{tokens['value']:.1f}", _span(tokens["ci95"]))
    return (length, *(_share(found[name]) for name in ("parsed", "coverage", "accuracy", "wrong_reason", "answers_so")))


def _span(bounds: Sequence[float] | None) -> str:
    return f"{bounds[0]:.1f} to {bounds[1]:.1f}" if bounds else ""


def _test(test: Mapping[str, Any], rows: Sequence[StageRow]) -> tuple[str, str, tuple[Cell, ...]]:
    one, other = rows[test["a"]], rows[test["b"]]
    who = " → ".join(f"{row.stage} {row.model}, {row.prompt}" for row in (one, other))
    what = "Clean image" if test["column"] == CLEAN else in_words(test["column"])
    counts = [Cell(str(test[name])) for name in ("only_a", "only_b")]
    values = [Cell(f"{test[name]:.2g}") for name in ("p", "p_holm")]
    return who, what, (Cell(str(test["n"])), Cell(points(test["difference"])), *counts, *values)
