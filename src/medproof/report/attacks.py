"""The tables of the attack section. No number under attack stands without what the model sees of the image."""

from collections.abc import Sequence
from typing import Any

from medproof.report.run_view import RunView
from medproof.report.tables import Cell, RunRow, accuracy_cell, run_rows
from medproof.report.wording import MISSING, NBSP, NORMS, eps_text, in_words, interval, percent

ATTACK_COLUMNS = (
    "Under attack",
    "Random noise of that size",
    "Clean",
    "Blank image",
    "Shuffled image",
    "Text prior",
    "Attack success",
    "How it fails",
)
EFFORT_COLUMNS = ("Budget", "Steps × restarts", "Objective", "Forwards + backwards", "Median distance", "Judged on")
WORST_COLUMNS = ("RA", "RA*", "RA where blank is wrong", "Clean", "Blank image", "Shuffled image", "Text prior")
MEMBER_COLUMNS = ("Right under it alone", "Only it turns")
UNION_COLUMNS = ("Asked", "Turned")


def evidence(run: RunView) -> tuple[Cell, ...]:
    """What must stand beside every number under attack: does the model look at all?"""
    return (
        *(accuracy_cell(run.conditions.get(key)) for key in ("clean", "blank", "shuffled")),
        accuracy_cell(run.text_prior) if run.text_prior else Cell("not known"),
    )


def by_attack(runs: Sequence[RunView], order: Sequence[str]) -> tuple[list[RunRow], list[RunRow]]:
    """One row per attack and run, attacks in `order`: what it leaves beside the evidence, and what it took."""
    blocks = [(key, run, run.attacks[key]) for key in order for run in runs if key in run.attacks]
    left = [(key, run, _left(run, block)) for key, run, block in blocks]
    took = [(key, run, _effort(block)) for key, run, block in blocks]
    return run_rows(left), run_rows(took)


def _left(run: RunView, attack: dict[str, Any]) -> tuple[Cell, ...]:
    failures = attack.get("failures") or {}
    ways = [f"{count}{NBSP}{name}" for name, count in failures.items() if count]
    return (
        accuracy_cell(attack),
        Cell(MISSING) if attack.get("eps_255") is None else accuracy_cell(attack.get("control")),
        *evidence(run),
        Cell(percent(attack.get("success_rate")), interval(attack.get("success_rate_ci95"))),
        Cell(ways[0] if ways else MISSING, ", ".join(ways[1:])),
    )


def _effort(attack: dict[str, Any]) -> tuple[Cell, ...]:
    judged = [name for flag, name in (("decoded", "decoded answer"), ("eight_bit", "8-bit image")) if attack.get(flag)]
    queries = attack.get("queries")
    return (
        Cell(budget(attack)),
        Cell(f"{number(attack.get('steps'))} × {number(attack.get('restarts') or 1)}"),
        Cell(str(attack.get("objective") or MISSING)),
        Cell(
            f"{number(attack.get('forwards'))} + {number(attack.get('backwards'))}",
            "" if queries is None else f"{number(queries)} queries",
        ),
        _median(attack.get("distance")),
        Cell(", ".join(judged) or MISSING),
    )


def _median(distance: dict[str, Any] | None) -> Cell:
    if distance is None:
        return Cell(MISSING)
    middle = distance["median"]
    return Cell("none" if middle is None else f"{middle:.3g}", f"{distance['found']} of {distance['n']} turned")


def budget(block: dict[str, Any]) -> str:
    """Norm and size: "L∞ 8/255", "L2 0.5", "L2" where the attack has none."""
    norm = NORMS.get(str(block.get("norm")), str(block.get("norm") or ""))
    return norm if block.get("eps_255") is None else f"{norm}{NBSP}{eps_text(block)}"


def number(value: Any) -> str:
    return f"{value:,.0f}".replace(",", "\u202f") if isinstance(value, int | float) else MISSING


def worst_case(runs: Sequence[RunView]) -> list[tuple[RunView, str, tuple[Cell, ...]]]:
    """Per run and threat model, and over all budgets where there are several: RA, RA* and the evidence beside them."""
    rows: list[tuple[RunView, str, tuple[Cell, ...]]] = []
    for run in runs:
        block = run.summary.get("robust") or {}
        threats = block.get("threats") or []
        named = [(budget(threat), threat) for threat in threats]
        if len(threats) > 1:
            named.append(("all budgets", block))
        rows.extend((run, name, (*_shares(threat), *evidence(run))) for name, threat in named)
    return rows


def _shares(block: dict[str, Any]) -> tuple[Cell, ...]:
    return tuple(
        Cell(percent(block.get(name)), interval(block.get(f"{name}_ci95")))
        for name in ("RA", "RA_star", "RA_blank_wrong")
    )


def members(runs: Sequence[RunView]) -> list[tuple[RunView, str, str, str, tuple[Cell, ...]]]:
    """Per run and threat model with several attacks: each one's own accuracy and the questions it alone turns."""
    return [
        (run, budget(threat), in_words(key), key, (accuracy_cell(member), Cell(str(member["only"]))))
        for run in runs
        for threat in (run.summary.get("robust") or {}).get("threats") or []
        if len(threat["members"]) > 1
        for key, member in threat["members"].items()
    ]


def unions(runs: Sequence[RunView]) -> list[tuple[RunView, str, str, tuple[Cell, ...]]]:
    """Per run and union: its attacks, cheap to dear, how many questions each was asked and turned."""
    return [
        (run, key, name.replace("_", " "), (Cell(str(told["run"])), Cell(str(told["fell"]))))
        for run in runs
        for key, attack in run.attacks.items()
        for name, told in (attack.get("members") or {}).items()
    ]
