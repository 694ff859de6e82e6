"""`medproof compare RUN RUN`: paired tests on the same items, from stored responses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from medproof.cli.console import interval, new_table, percent, say, show
from medproof.cli.options import DryRun
from medproof.errors import UserError


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="A run folder.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another, or the same one.")],
    condition: Annotated[
        list[str] | None,
        typer.Option("--condition", metavar="C", help="Compare under this condition; repeat. Default: all they share."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", metavar="C", help="In RUN_B, this condition instead: one for each --condition."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write DIR/compare.json.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Is one run right more often than another on the same items? Exact McNemar, Holm over all pairs."""
    from medproof.conditions import resolve
    from medproof.runs.atomic import disk_errors, write_bytes
    from medproof.runs.store import read_run
    from medproof.scoring.compare import compare as compare_runs
    from medproof.scoring.scored import score

    left = [resolve(text).key for text in condition or ()]
    right = [resolve(text).key for text in against or condition or ()]
    if len(left) != len(right):
        raise UserError(f"{len(left)} --condition and {len(right)} --against: give one --against for each --condition")
    pairs = list(zip(left, right, strict=True))
    if dry_run:
        named = ", ".join(f"{a} / {b}" for a, b in pairs) or "every condition they share"
        say(f"would compare {first} with {second}: {named}")
        return
    rows = compare_runs(score(read_run(first)), score(read_run(second)), pairs)
    numbers = ("items", "A %", "B %", "B - A", "95 % CI", "only A", "only B", "p", "p Holm")
    table = new_table(f"A: {first}, B: {second}", ("condition", *numbers), right=numbers)
    for row in rows:
        name = row["a"] if row["a"] == row["b"] else f"{row['a']} / {row['b']}"
        shares = (percent(row[key]) for key in ("accuracy_a", "accuracy_b", "difference"))
        counts = (str(row[key]) for key in ("only_a", "only_b"))
        tests = (f"{row[key]:.2g}" for key in ("p", "p_holm"))
        table.add_row(name, str(row["n"]), *shares, interval(row["ci95"]), *counts, *tests)
    show(table)
    if out is not None:
        with disk_errors(out):
            out.mkdir(parents=True, exist_ok=True)
        content = {"schema": 1, "a": str(first), "b": str(second), "pairs": rows}
        write_bytes(out / "compare.json", (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
        say(f"numbers: {out / 'compare.json'}")
