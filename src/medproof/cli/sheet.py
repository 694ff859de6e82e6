"""`medproof bench sheet` and `medproof bench import`: people answer what models are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medproof.cli.console import next_command, note, say
from medproof.cli.options import AllowIdentified, DryRun, Limit, Seed

BenchData = Annotated[
    Path, typer.Option("--data", metavar="BENCH", help="Folder of medproof bench build, or its items.jsonl.")
]


def sheet_command(
    data: BenchData,
    out: Annotated[Path, typer.Option("--out", metavar="HTML", help="File to write.")],
    limit: Limit = None,
    seed: Seed = 0,
    allow_identified: AllowIdentified = False,
    dry_run: DryRun = False,
) -> None:
    """Write a reading sheet: one HTML file with images and questions, which hands the answers back as a CSV.

    The questions are those that medproof run takes with the same --limit and --seed.
    """
    from medproof.cli.inputs import select
    from medproof.datasets import load
    from medproof.evaluation.images import ImageLoader, check
    from medproof.interchange.sheet import sheet_html
    from medproof.interchange.source import bench_file, held_back
    from medproof.runs.atomic import disk_errors, write_text

    file = bench_file(data)
    chosen = select(load(file, seed=seed), "test", limit, str(data))
    check(chosen, allow_identified=allow_identified)
    if (line := held_back(chosen.items)) is not None:
        note(f"warning: {line}: the sheet holds their images; check to whom you may give it")
    if dry_run:
        say(f"would ask {len(chosen.items)} questions in {out}")
        return
    page = sheet_html(chosen, ImageLoader(chosen, None, allow_identified=allow_identified))
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)
    say(f"sheet: {out}, {len(chosen.items)} questions")
    next_command("bench", "import", "ANSWERS.csv", "--data", data, "--out", "runs/reader", "--name", "reader 1")


def import_command(
    answers: Annotated[Path, typer.Argument(metavar="ANSWERS.csv", help="What the sheet saved.")],
    data: BenchData,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Run folder to write.")],
    name: Annotated[str, typer.Option("--name", help="How the reader is called in tables.")],
    seed: Seed = 0,
    allow_identified: AllowIdentified = False,
    dry_run: DryRun = False,
) -> None:
    """Make a run of the answers of a reading sheet, for report and compare beside any model's.

    A question left open is an error of the run, which is then incomplete.
    """
    from medproof.cli.headline import show_headline
    from medproof.cli.inputs import resolve_conditions
    from medproof.cli.pipeline import Plan, execute
    from medproof.cli.progress import display
    from medproof.datasets import load
    from medproof.interchange.reader import Reader, read_answers
    from medproof.interchange.source import bench_file
    from medproof.runs.store import read_run

    everything = load(bench_file(data), seed=seed)
    sheet, ticked = read_answers(answers, everything)
    if left := len(sheet.items) - len(ticked):
        note(f"{left} of {len(sheet.items)} questions are unanswered: the run will be marked incomplete")
    if dry_run:
        say(f"would write {len(ticked)} answers of {name} to {out}")
        return
    plan = Plan(
        data=everything,
        selected=sheet,
        conditions=tuple(resolve_conditions(["clean"])),
        model_spec=name,
        mode="direct",
        split="test",
        limit=None,
        seed=seed,
        out=out,
    )
    with display() as shown:
        execute(plan, Reader(name, ticked), shown, allow_identified=allow_identified)
    show_headline(read_run(out))
    next_command("report", out)
