"""The headline of a run: accuracy under every condition, and beside it how much the model looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medproof.cli.console import interval, new_table, percent, say, show

if TYPE_CHECKING:
    from rich.table import Table

    from medproof.runs.store import RunData

RELIANCE = {
    "VRS": "clean minus shuffled image (VRS)",
    "blank_drop": "clean minus blank image",
    "IS": "answers that change with a shuffled image (IS)",
    "image_reliant": "answers that change with a blank image",
    "kappa": "clean above the best image-blind answer (kappa)",
}


def show_headline(run: RunData) -> None:
    """Print the conditions, the reliance numbers and, after attacks, the worst case beside its image-reliant part."""
    from medproof.scoring.summary import summarise

    summary = summarise(run)
    show(conditions_table(summary))
    looks = reliance_table(summary)
    if looks.row_count:
        show(looks)
    for line in robust_lines(summary):
        say(line)
    for key, row in summary["conditions"].items():
        if row.get("degenerate"):
            say(f"! {key}: one answer takes more than 90 % of the replies")


def show_sanity(run: RunData) -> None:
    """Print the checks of the attack, and for each that failed what it means and what to do."""
    told = run.sanity or {}
    table = new_table(f"Sanity of {told['subject']}, {told['n_items']} items", ("check", "verdict", "numbers"))
    for check in told["checks"]:
        table.add_row(check["title"], check["verdict"], check["reason"] or numbers_of(check["numbers"]))
    show(table)
    for check in told["checks"]:
        if check["verdict"] == "failed":
            say(f"! {check['title']}: {check['means']} {check['remedy']}")


def numbers_of(numbers: Mapping[str, Any]) -> str:
    """The numbers of a check in one line."""
    shown = {name: f"{value:.3g}" if isinstance(value, float) else str(value) for name, value in numbers.items()}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())


def conditions_table(summary: Mapping[str, Any]) -> Table:
    """One row per condition; shares in per cent."""
    numbers = ("items", "accuracy", "95 % CI", "chance", "flipped", "unparsed", "abstain", "error")
    title = f"{summary['model']}, {summary['mode']} prompt, {summary['dataset']}: {summary['n_items']} items, per cent"
    table = new_table(title, ("condition", *numbers), right=numbers)
    for key, row in summary["conditions"].items():
        counts = (str(row[name]) for name in ("unparsed", "abstain", "error"))
        flip = row.get("flip")
        table.add_row(
            key,
            str(row["n"]),
            percent(row["accuracy"]),
            interval(row["ci95"]),
            percent(row["chance"]),
            percent(_value(flip)),
            *counts,
        )
    return table


def reliance_table(summary: Mapping[str, Any]) -> Table:
    """Does it look? Only what the conditions of the run can tell."""
    table = new_table(
        "Does it look at the image? per cent", ("measure", "value", "95 % CI"), right=("value", "95 % CI")
    )
    reliance = summary["reliance"]
    prior = reliance.get("text_prior")
    if prior:
        table.add_row("text prior: option counts, no image", percent(prior["accuracy"]), interval(prior["ci95"]))
    stored = summary["provenance"].get("text_prior") or {}
    if stored.get("given_modality") is not None:
        table.add_row("text prior, given the modality", percent(stored["given_modality"]), "")
    for key, name in RELIANCE.items():
        cell = reliance.get(key)
        if cell:
            table.add_row(name, percent(_value(cell)), interval(cell.get("ci95")))
    return table


def robust_lines(summary: Mapping[str, Any]) -> list[str]:
    """RA and RA* side by side; nothing where nothing attacked."""
    robust = summary.get("robust")
    if not robust:
        return []
    star = robust.get("RA_star")
    shown = "needs the condition blank" if star is None else f"{percent(star)} % {interval(robust.get('RA_star_ci95'))}"
    return [
        f"{robust['validation']['name']}, worst case RA {percent(robust['RA'])} % {interval(robust.get('RA_ci95'))}; "
        f"of that resting on the image (RA*) {shown}"
    ]


def _value(cell: Any) -> float | None:
    """A number, or the `value` of a number with its interval."""
    if isinstance(cell, Mapping):
        value = cell.get("value")
        return None if value is None else float(value)
    return None if cell is None else float(cell)
