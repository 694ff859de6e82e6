"""`medproof report RUN [RUN ...]`: report.html and report.json from what runs and trainings stored; needs no model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from medproof.cli.console import say
from medproof.cli.options import DryRun
from medproof.errors import UserError


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of medproof run and of medproof train.")
    ],
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Default: the first folder.")] = None,
    audit: Annotated[
        Path | None, typer.Option("--audit", metavar="FILE", help="audit.json of medproof audit, shown as a section.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Write a self-contained report.html and report.json."""
    from medproof.report.training import is_training, read_training
    from medproof.runs.store import read_run

    findings = None if audit is None else read_audit(audit)
    folder = out or runs[0]
    if dry_run:
        for run in runs:
            if is_training(run):
                say(f"{run}: training, {read_training(run).steps} steps")
                continue
            data = read_run(run)
            say(f"{run}: {len(data.items)} items, {len(data.responses)} responses")
        say(f"would write {folder}/report.html and {folder}/report.json")
        return
    from medproof.report import build

    page, numbers = build(runs, folder, findings)
    say(f"report: {page}")
    say(f"numbers: {numbers}")
    say(f"next: open {page} in a browser")


def read_audit(path: Path) -> dict[str, Any]:
    """The content of an audit.json. Raises UserError when it is none."""
    file = path / "audit.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file} is no audit.json ({type(error).__name__}): write one with medproof audit --out"
        ) from error
    if not isinstance(content, dict) or "text_prior" not in content:
        raise UserError(f"{file} is no audit.json: write one with medproof audit --out")
    return content
