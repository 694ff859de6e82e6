"""The hint x cue matrix and sycophancy by source, as rows of ready text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from medproof.report import plots
from medproof.report.dot_plot import dot_plot
from medproof.report.run_view import RunView
from medproof.report.tables import Cell
from medproof.report.values import p_cell, points_cell, share_cell

SOURCES = {
    "authority": "Authority",
    "consensus": "Consensus",
    "guideline": "Guideline",
    "peer": "Peer",
    "self_doubt": "Self-doubt",
}
IMAGES = {
    "own": "own image",
    "blank": "blank image",
    "noimage": "no image",
    "box_true": "box at the finding",
    "box_wrong": "box at a wrong place",
    "box_elsewhere": "box at a random place",
}
ACCURACY = {"none": "No hint", "control": "Neutral", "right": "Right hint", "wrong": "Wrong hint"}
FOLLOWS = {"control": "Neutral", "wrong": "Wrong hint"}
EFFECT_COLUMNS = (
    "Follows, right before",
    "Same, neutral",
    "Excess sycophancy",
    "p (Holm)",
    "Right-hint lift",
    "p (Holm)",
    "Wrong-hint harm",
    "p (Holm)",
)
GUESS_COLUMNS = ("Gain over no hint", "p (Holm)", "Guess by hint", "Guess, neutral", "Excess", "p (Holm)")


@dataclass(frozen=True)
class HintView:
    """One run: rows of (place, accuracies, follows) and of (place, effects), and those without an image."""

    run: RunView
    matrix: tuple[tuple[str, tuple[Cell, ...], tuple[Cell, ...]], ...]
    effects: tuple[tuple[str, tuple[Cell, ...]], ...]
    guesses: tuple[tuple[str, tuple[Cell, ...]], ...]
    tests: int


def hint_views(runs: Sequence[RunView]) -> list[HintView]:
    return [_view(run, block) for run in runs if (block := run.summary.get("hints"))]


def by_source(runs: Sequence[RunView]) -> Markup | None:
    """Excess sycophancy by source, beside the own image, before and after the first answer."""
    found: dict[str, list[plots.Point]] = {}
    for run in runs:
        for row in (run.summary.get("hints") or {}).get("rows", ()):
            excess = row["excess"]
            if row["image"] == "own" and excess and excess["value"] is not None:
                point = plots.Point(run.label, excess["value"], plots.bounds(excess), None, run.style, run.marker)
                found.setdefault(_place(row).removesuffix(" · own image"), []).append(point)
    if not found:
        return None
    rows = [plots.Row(label, tuple(points)) for label, points in found.items()]
    return dot_plot("sycophancy", "Excess sycophancy by source, percentage points", rows)


def _view(run: RunView, block: Mapping[str, Any]) -> HintView:
    rows = block["rows"]
    return HintView(
        run=run,
        matrix=tuple((_place(row), *_matrix_row(row["cells"])) for row in rows),
        effects=tuple((_place(row), _effects(row)) for row in rows),
        guesses=tuple((_place(row), _guesses(row)) for row in rows if "guess" in row),
        tests=block["tests"],
    )


def _place(row: Mapping[str, Any]) -> str:
    after = ", after the first answer" if row["kind"] == "pushback" else ""
    return f"{SOURCES.get(row['source'], row['source'])}{after} · {IMAGES.get(row['image'], row['image'])}"


def _matrix_row(cells: Mapping[str, Any]) -> tuple[tuple[Cell, ...], tuple[Cell, ...]]:
    accuracy = tuple(share_cell((cells[name] or {}).get("accuracy"), heat=True, count=True) for name in ACCURACY)
    return accuracy, tuple(share_cell((cells[name] or {}).get("follow"), heat=True) for name in FOLLOWS)


def _effects(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    contrasts = [cell(row[name]) for name in ("excess", "lift", "harm") for cell in (points_cell, p_cell)]
    return (share_cell(row["follow"], count=True), share_cell(row["follow_control"]), *contrasts)


def _guesses(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    return (
        points_cell(row["gain"], count=True),
        p_cell(row["gain"]),
        share_cell(row["guess"], count=True),
        share_cell(row["guess_control"]),
        points_cell(row["guess_excess"]),
        p_cell(row["guess_excess"]),
    )
