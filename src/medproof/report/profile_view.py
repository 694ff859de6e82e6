"""The failure profile and the comparison of models, as rows of ready text."""

from collections.abc import Mapping, Sequence
from typing import Any

from medproof.report.run_view import RunView
from medproof.report.tables import Cell
from medproof.report.values import p_cell
from medproof.report.wording import MISSING, NBSP, in_words, interval, percent, points

KINDS = {
    "ignores_image": ("Ignores the image", "replies that stay the same when the image is blank"),
    "follows_hints": (
        "Follows hints",
        "right answers given up for a wrong hint, less those for a neutral one",
    ),
    "one_letter": ("One letter", "share of the letter given most often"),
    "wrong_steps": ("Right answer on wrong steps", "chains right at the end with an earlier step wrong"),
    "story_contradicts": ("Story contradicts the image", "claims of the reasoning that the annotation contradicts"),
}

MODEL_COLUMNS = ("Questions", "First", "Second", "Difference", "Only the first", "Only the second", "p", "p (Holm)")


def profile_rows(runs: Sequence[RunView]) -> list[tuple[str, str, str, tuple[tuple[Cell, str], ...]]]:
    """(failure, what is counted, threshold, per run cell and state); empty where no run has a profile."""
    profiles = [{row["kind"]: row for row in run.summary.get("profile") or ()} for run in runs]
    if not any(profiles):
        return []
    threshold = {kind: row["threshold"] for found in profiles for kind, row in found.items()}
    return [
        (name, what, percent(threshold[kind], 0), tuple(_cell(found.get(kind)) for found in profiles))
        for kind, (name, what) in KINDS.items()
    ]


def _cell(row: Mapping[str, Any] | None) -> tuple[Cell, str]:
    if not row or row["value"] is None:
        return Cell(MISSING, "not measured"), ""
    letter = f"{row['letter']}{NBSP}" if row.get("letter") else ""
    small = f"{NBSP}· ".join(filter(None, (interval(row["ci95"]), f"n{NBSP}{row['n']}")))
    return Cell(letter + percent(row["value"]).replace("-", "−"), small), row["state"]


def model_rows(
    found: Mapping[str, Any] | None, runs: Sequence[RunView]
) -> list[tuple[RunView, RunView, str, str, tuple[Cell, ...]]]:
    """(first run, second run, condition, key, cells) of `scoring.models.models` over the same runs."""
    return [
        (runs[test["first"]], runs[test["second"]], in_words(test["a"]), test["a"], _test(test))
        for test in (found or {}).get("tests", ())
    ]


def _test(test: Mapping[str, Any]) -> tuple[Cell, ...]:
    return (
        Cell(str(test["n"])),
        Cell(percent(test["accuracy_a"])),
        Cell(percent(test["accuracy_b"])),
        Cell(points(test["difference"]), interval(test["ci95"])),
        Cell(str(test["only_a"])),
        Cell(str(test["only_b"])),
        Cell(f"{test['p']:.2g}"),
        Cell(p_cell(test).text),
    )
