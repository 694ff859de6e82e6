"""The tables of the page as rows of ready text."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from medproof.report import plots
from medproof.report.run_view import RunView
from medproof.report.wording import MISSING, in_words, interval, percent, points

HEAT_STEPS = 10


@dataclass(frozen=True)
class Cell:
    """`text` large, `small` beneath it; `heat` is the step of the colour scale (0 to 9)."""

    text: str
    small: str = ""
    heat: int | None = None
    flag: str = ""


@dataclass(frozen=True)
class HeadlineRow:
    label: str
    key: str
    kind: str
    blocks: tuple[tuple[Cell, ...], ...]


HEADLINE_COLUMNS = ("Accuracy", "n", "Chance", "Unparsed", "Abstain", "Error")


def headline(runs: Sequence[RunView], keys: Sequence[str]) -> list[HeadlineRow]:
    """One row per condition, one block of `HEADLINE_COLUMNS` per run."""
    attacks = {key for run in runs for key in run.attacks}
    return [
        HeadlineRow(in_words(key), key, "attack" if key in attacks else "plain", tuple(_block(r, key) for r in runs))
        for key in keys
    ]


def _block(run: RunView, key: str) -> tuple[Cell, ...]:
    block = run.conditions.get(key)
    if block is None:
        return (Cell("not run"), *[Cell(MISSING)] * (len(HEADLINE_COLUMNS) - 1))
    flag = "degenerate" if block.get("degenerate") else ""
    return (
        Cell(percent(block.get("accuracy")), interval(block.get("ci95")), flag=flag),
        Cell(str(block.get("n", 0))),
        Cell(percent(block.get("chance"))),
        *(Cell(amount(block.get(name))) for name in ("unparsed", "abstain", "error")),
    )


def amount(value: Any) -> str:
    """A count as it is, a share as a percentage."""
    return percent(value) if isinstance(value, float) else MISSING if value is None else str(value)


@dataclass(frozen=True)
class RunRow:
    """A condition and a run. `span` is the number of runs on the condition's first row, 0 on the others."""

    label: str
    key: str
    run: RunView
    cells: tuple[Cell, ...]
    span: int


def run_rows(rows: Sequence[tuple[str, RunView, tuple[Cell, ...]]]) -> list[RunRow]:
    counts = Counter(key for key, _, _ in rows)
    first = {key: place for place, (key, _, _) in reversed(list(enumerate(rows)))}
    return [
        RunRow(in_words(key), key, run, cells, counts[key] if first[key] == place else 0)
        for place, (key, run, cells) in enumerate(rows)
    ]


FLIP_COLUMNS = ("Answer changed", "Right, then not right", "Not right, then right", "Net change")


def flips(runs: Sequence[RunView], keys: Sequence[str]) -> list[RunRow]:
    """Against the same items clean, one row per condition and run."""
    rows = []
    for key in keys:
        for run in runs:
            block = run.answered(key)
            if block and block.get("flip") is not None:
                shares = [Cell(percent(block[name]), interval(block.get(f"{name}_ci95"))) for name in _FLIPS]
                net = Cell(points(block.get("net")), interval(block.get("net_ci95")))
                rows.append((key, run, (*shares, net)))
    return run_rows(rows)


_FLIPS = ("flip", "harmful_flip", "beneficial_flip")


def accuracy_cell(block: dict[str, Any] | None) -> Cell:
    if not block or block.get("accuracy") is None:
        return Cell("not run")
    return Cell(percent(block["accuracy"]), interval(block.get("ci95")))


@dataclass(frozen=True)
class HeatTable:
    run: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, str, tuple[Cell, ...]], ...]


def heat(runs: Sequence[RunView], keys: Sequence[str], group: str) -> list[HeatTable]:
    """Per run: accuracy by the values of `group` (rows) under each condition (columns), coloured by accuracy."""
    tables = []
    for run in runs:
        by = {key: (run.conditions[key].get("by") or {}).get(group) or {} for key in keys if key in run.conditions}
        values = sorted({value for shares in by.values() for value in shares})
        columns = tuple((in_words(key), key) for key in by)
        rows = tuple(
            (value, _group_n(by, value), tuple(heat_cell(shares.get(value)) for shares in by.values()))
            for value in values
        )
        if rows:
            tables.append(HeatTable(run.label, columns, rows))
    return tables


def _group_n(by: dict[str, dict[str, Any]], value: str) -> str:
    counts = {shares[value].get("n", 0) for shares in by.values() if value in shares}
    low, high = min(counts), max(counts)
    return str(high) if low == high else f"{low} to {high}"


def heat_cell(block: dict[str, Any] | None, flag: str = "") -> Cell:
    if not block or block.get("accuracy") is None:
        return Cell(MISSING)
    share = float(block["accuracy"])
    step = min(HEAT_STEPS - 1, int(share * HEAT_STEPS))
    return Cell(percent(share, 0), interval(block.get("ci95")), heat=step, flag=flag)


@dataclass(frozen=True)
class ReadingRow:
    row: RunRow
    decoded: Cell
    decoded_letters: Markup | None
    forced: Cell
    forced_letters: Markup | None


def readings(runs: Sequence[RunView], keys: Sequence[str]) -> list[ReadingRow]:
    """Decoded answers beside forced choice, each with how often every letter was given."""
    found = [(key, run, block) for key in keys for run in runs if (block := run.answered(key))]
    rows = run_rows([(key, run, ()) for key, run, _ in found])
    return [_reading(place, row, block) for place, (row, (_, _, block)) in enumerate(zip(rows, found))]


def _reading(place: int, row: RunRow, block: dict[str, Any]) -> ReadingRow:
    choice = block.get("forced_choice")
    where = f"under {row.label}, {row.run.label}"
    return ReadingRow(
        row,
        accuracy_cell(block),
        _strip(f"decoded-{place}", f"Decoded answers {where}", block.get("answer_distribution")),
        accuracy_cell(choice) if choice else Cell("not given"),
        _strip(f"forced-{place}", f"Forced choice {where}", (choice or {}).get("answer_distribution")),
    )


def _strip(slug: str, title: str, shares: dict[str, float] | None) -> Markup | None:
    return plots.letters(slug, title, dict(sorted(shares.items()))) if shares else None
