"""The chains of a benchmark on the page: stage by stage, first failure, what the model's own errors cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from medproof.report import plots
from medproof.report.run_view import RunView
from medproof.report.stage_plot import StageLine, stage_plot
from medproof.report.svg import MARKERS
from medproof.report.tables import Cell
from medproof.report.values import points_cell, share_cell
from medproof.report.wording import MISSING, in_words
from medproof.scoring.intervals import wilson
from medproof.scoring.scored import CLEAN

PROTOCOLS = {
    CLEAN: "Independent",
    "steps(teacher_forced)": "Teacher-forced",
    "steps(self_conditioned)": "Self-conditioned",
    "steps(joint)": "Joint",
}
STAGE_COLUMNS = ("Accuracy", "Prefix", "Conditional", "Dependence")
STAGES = {"S1": "S1 acquisition", "S2": "S2 findings", "S3": "S3 characterisation", "S4": "S4 assessment"}
SHORT_COLUMNS = ("Accuracy", "Prefix")


@dataclass(frozen=True)
class Figure:
    """A stage plot and its lines, for the legend."""

    caption: str
    plot: Markup
    lines: tuple[StageLine, ...]


@dataclass(frozen=True)
class ChainRow:
    """One protocol or condition: chains scored, chains left out, per stage the cells of `STAGE_COLUMNS`."""

    name: str
    key: str
    n: int
    incomplete: int
    stages: tuple[tuple[Cell, ...], ...]
    summary: tuple[Cell, ...] = ()


@dataclass(frozen=True)
class ChainView:
    """One run. failures: (protocol, chains by first failure). own_errors: (stage, cell)."""

    run: RunView
    stages: tuple[str, ...]
    figures: tuple[Figure, ...]
    histogram: Markup
    rows: tuple[ChainRow, ...]
    perturbed: tuple[ChainRow, ...]
    failures: tuple[tuple[str, tuple[str, ...]], ...]
    own_errors: tuple[tuple[str, Cell], ...]


def chain_views(runs: Sequence[RunView]) -> list[ChainView]:
    return [_view(place, run, block) for place, run in enumerate(runs) if (block := _block(run)) is not None]


def _block(run: RunView) -> Mapping[str, Any] | None:
    """The chain block, where it holds a chain at all."""
    block = run.summary.get("chain")
    return block if block and any(found["n"] for found in block["protocols"].values()) else None


def _view(place: int, run: RunView, block: Mapping[str, Any]) -> ChainView:
    stages = tuple(block["stages"])
    protocols = {key: found for key, found in block["protocols"].items() if found["n"]}
    own = block.get("own_errors")
    cost = {**own["stages"], "all stages": own["all"]} if own else {}
    return ChainView(
        run=run,
        stages=tuple(STAGES.get(stage, stage) for stage in stages),
        figures=_figures(place, run, stages, protocols),
        histogram=_histogram(place, run, *next(iter(protocols.items()))),
        rows=tuple(_row(PROTOCOLS.get(key, key), key, found, stages) for key, found in protocols.items()),
        perturbed=tuple(
            _row(in_words(key), key, found, stages) for key, found in (block.get("perturbed") or {}).items()
        ),
        failures=tuple(
            (PROTOCOLS.get(key, key), tuple(str(found["first_failure"].get(s, 0)) for s in (*stages, "none")))
            for key, found in protocols.items()
        ),
        own_errors=tuple((stage, points_cell(found, count=True)) for stage, found in cost.items()),
    )


def _figures(
    place: int, run: RunView, stages: Sequence[str], protocols: Mapping[str, Mapping[str, Any]]
) -> tuple[Figure, ...]:
    """Accuracy and prefix accuracy: of one protocol in one plot, of several in two."""
    measures = {"Accuracy": ["accuracy"], "Prefix accuracy": ["prefix"]}
    if len(protocols) == 1:
        measures = {"Accuracy and prefix accuracy": ["accuracy", "prefix"]}
    figures = []
    for number, (caption, names) in enumerate(measures.items()):
        lines = [
            _line(PROTOCOLS.get(key, key) if len(names) == 1 else name.capitalize(), index, found, name)
            for index, (key, found) in enumerate(protocols.items())
            for name in names
        ]
        title = f"{run.label}: {caption.lower()} from stage to stage"
        figures.append(Figure(caption, stage_plot(f"chain-{place}-{number}", title, stages, lines), tuple(lines)))
    return tuple(figures)


def _line(name: str, number: int, found: Mapping[str, Any], measure: str) -> StageLine:
    """Accuracy drawn through, prefix accuracy dashed."""
    points = tuple(
        (stage, float(block[measure]["value"]), plots.bounds(block[measure]))
        for stage, block in found["stages"].items()
        if block[measure]["value"] is not None
    )
    dashed = " blind" if measure == "prefix" else ""
    return StageLine(name, points, f"run{number % 4}{dashed}", MARKERS[number % len(MARKERS)])


def _histogram(place: int, run: RunView, key: str, found: Mapping[str, Any]) -> Markup:
    names = {**STAGES, "none": "No step fails"}
    rows = [
        plots.Point(
            f"{names.get(stage, stage)} ({count})",
            count / found["n"],
            wilson(count, found["n"]),
            None,
            "real" if stage == "none" else "unseen",
            "circle",
        )
        for stage, count in found["first_failure"].items()
    ]
    title = f"{run.label}: chains by the first stage that fails, {PROTOCOLS.get(key, key).lower()}"
    return plots.bars(f"first-failure-{place}", title, rows, None)


def _row(name: str, key: str, found: Mapping[str, Any], stages: Sequence[str]) -> ChainRow:
    full = "unsupported_correct" in found
    return ChainRow(
        name=name,
        key=key,
        n=found["n"],
        incomplete=found["incomplete"],
        stages=tuple(_cells(found["stages"].get(stage), full) for stage in stages),
        summary=(share_cell(found["unsupported_correct"], count=True), points_cell(found["slope"])) if full else (),
    )


def _cells(block: Mapping[str, Any] | None, full: bool) -> tuple[Cell, ...]:
    names = STAGE_COLUMNS if full else SHORT_COLUMNS
    if block is None:
        return (Cell(MISSING),) * len(names)
    cells = [share_cell(block["accuracy"], count=True), share_cell(block["prefix"])]
    if full:
        cells += [share_cell(block["conditional"], count=True), points_cell(block["dependence"])]
    return tuple(cells)
