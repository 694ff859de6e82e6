"""Cues, hidden evidence, rewordings, and the order of the options, as rows of ready text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medproof.report.run_view import RunView
from medproof.report.tables import Cell
from medproof.report.values import number_cell, p_cell, points_cell, share_cell
from medproof.report.wording import MISSING, in_words, percent

CUES = {"burned_in": "Burned-in text", "marker": "Side marker"}
CUE_COLUMNS = (
    "At the finding",
    "At a wrong place",
    "Control",
    "Benefit",
    "p (Holm)",
    "Harm",
    "p (Holm)",
    "Follows, less control",
    "p (Holm)",
)
REGION_COLUMNS = (
    "Clean",
    "Region only",
    "Region masked",
    "VGR",
    "p (Holm)",
    "VGR elsewhere",
    "VGR, less elsewhere",
    "Cost of masking",
    "p (Holm)",
)
BEHAVIOUR_COLUMNS = ("Expected", "Accuracy", "Against control", "p (Holm)", "H", "B", "Same answer again", "Refuses")
CIRCULAR_COLUMNS = ("As asked", "In every order", "Same answer", "Questions", "Position bias", "By letter")
CALIBRATION_COLUMNS = ("ECE", "Brier", "Top 25 %", "Top 50 %", "Top 75 %", "All")
EXPECTED = {"keep": "stays", "flip": "changes", "refuse": "refuses", "any": "any"}


@dataclass(frozen=True)
class Line:
    """One row of a table: the run, what it is about, its cells."""

    run: RunView
    label: str
    key: str
    cells: tuple[Cell, ...]


def cue_lines(runs: Sequence[RunView]) -> list[Line]:
    lines = []
    for run, row in _rows(runs, "cues"):
        arms = [row["cells"][arm] or {} for arm in ("right", "wrong", "control")]
        cells = [share_cell(arm.get("accuracy"), count=True) for arm in arms]
        cells += [cell(row[name]) for name in ("lift", "harm", "excess") for cell in (points_cell, p_cell)]
        name = CUES.get(row["cue"], row["cue"].capitalize())
        lines.append(Line(run, name, name, tuple(cells)))
    return lines


def region_lines(runs: Sequence[RunView]) -> list[Line]:
    lines = []
    for run, row in _rows(runs, "region"):
        accuracy = {name: {**block, "value": block["accuracy"]} for name, block in row["accuracy"].items()}
        names = ("clean", "region_only", "region_masked")
        cells = [share_cell(accuracy.get(name), count=name == "clean") for name in names]
        cells += [points_cell(row["VGR"]), p_cell(row["VGR"]), points_cell(row["VGR_control"])]
        cells += [points_cell(row["excess"]), points_cell(row["masking"]), p_cell(row["masking"])]
        label = "Filled with grey" if row["fill"] == "grey" else "Filled with the mean around"
        lines.append(Line(run, label, label, tuple(cells)))
    return lines


def behaviour_lines(runs: Sequence[RunView]) -> list[Line]:
    return [
        Line(
            run,
            in_words(row["condition"]),
            row["condition"],
            (
                Cell(EXPECTED[row["expected"]]),
                share_cell(row["accuracy"], count=True),
                points_cell(row["difference"]),
                p_cell(row["difference"]),
                share_cell(row["harmful_flip"], count=True),
                share_cell(row["beneficial_flip"], count=True),
                share_cell(row["stuck"]),
                share_cell(row["refused"]),
            ),
        )
        for run, row in _rows(runs, "behaviour")
    ]


def circular_lines(runs: Sequence[RunView]) -> list[Line]:
    return [
        Line(run, "", "", _circular(block))
        for run in runs
        if (block := run.summary.get("options")) and block["circular"] and block["circular"]["plain"]["n"]
    ]


def calibration_lines(runs: Sequence[RunView]) -> list[Line]:
    found = [(run, (run.summary.get("options") or {}).get("calibration")) for run in runs]
    return [
        Line(
            run,
            "",
            "",
            (
                number_cell(block["ece"]),
                number_cell(block["brier"]),
                *(share_cell(part, count=True) for part in block["selective"].values()),
            ),
        )
        for run, block in found
        if block
    ]


def alarms(runs: Sequence[RunView]) -> list[tuple[RunView, str]]:
    """(run, sentence) per condition where one answer takes nearly all replies."""
    return [
        (run, f"{in_words(alarm['condition'])}: {alarm['letter']} takes {percent(alarm['share'], 0)} of the replies.")
        for run in runs
        for alarm in (run.summary.get("options") or {}).get("alarms", ())
    ]


def _circular(block: Mapping[str, Any]) -> tuple[Cell, ...]:
    circular, position = block["circular"], block["position"]
    letters = ", ".join(f"{letter} {percent(found['value'], 0)}" for letter, found in position["recall"].items())
    return (
        share_cell(circular["plain"]),
        share_cell(circular["accuracy"]),
        share_cell(circular["consistency"]),
        Cell(str(circular["plain"]["n"]), f"{circular['left_out']} left out"),
        share_cell(position["bias"]),
        Cell(letters or MISSING),
    )


def _rows(runs: Sequence[RunView], name: str) -> list[tuple[RunView, Mapping[str, Any]]]:
    return [(run, row) for run in runs for row in (run.summary.get(name) or {}).get("rows", ())]
