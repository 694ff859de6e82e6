"""`medproof bench build` and `bench run`: the stepwise benchmark from annotated images, and a model through it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medproof.cli.bench_run import bench_run
from medproof.cli.console import complain, new_table, next_command, note, percent, say, show
from medproof.cli.options import DryRun, Seed
from medproof.cli.sheet import import_command, sheet_command

if TYPE_CHECKING:
    from medproof.bench import Built

app = typer.Typer(
    help="The stepwise benchmark: chains of questions along four stages, each with its evidence.",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    """The stepwise benchmark: chains of questions along four stages, each with its evidence."""


@app.command("build")
def build_command(
    data: Annotated[
        str,
        typer.Option(
            "--data", metavar="D", help="sample, a folder with manifest/*.jsonl or bench.yaml, or a bench.yaml."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for items, images, masks and card.")],
    seed: Seed = 0,
    dry_run: DryRun = False,
) -> None:
    """Turn annotated images into a benchmark that cannot be answered without looking. Repeated, the same bytes."""
    from medproof.bench import build
    from medproof.cli.progress import display

    with display() as shown:
        built = build(data, None if dry_run else out, seed, shown.update)
    for warning in built.card["warnings"]:
        note(f"warning: {warning}")
    _show(built.card)
    if dry_run:
        say(f"would write {len(built.bench.items)} items to {out / 'items.jsonl'}")
        return
    if built.misses:
        raise typer.Exit(complain(_missed(built), 1))
    say(f"benchmark: {out / 'items.jsonl'}, card: {out / 'card.md'}")
    next_command("bench", "run", "--model", "nano", "--data", out, "--out", "runs/bench")


app.command("run")(bench_run)
app.command("sheet")(sheet_command)
app.command("import")(import_command)


def _missed(built: Built) -> str:
    return (
        f"{len(built.misses)} items do not follow from their stored evidence, {built.misses[0]} first: "
        "this is a fault of a task's rule; please report it"
    )


def _show(card: dict[str, Any]) -> None:
    columns = ("stage", "task", "answer", "train", "test", "chance", "text prior", "n-gram")
    table = new_table("Tasks (blind accuracies in %)", columns, columns[3:])
    for row in card["tasks"]:
        blind = (percent(row[name]) for name in ("test_chance", "text_prior", "ngram"))
        table.add_row(row["stage"], row["task"], row["format"], str(row["train"]), str(row["test"]), *blind)
    show(table)
    items, oracle, gate = card["items"], card["oracle"], card["blind_gate"]
    say(
        f"{items['test']} test and {items['train']} training items of {card['cases']} cases, {len(card['tasks'])} tasks"
    )
    say(f"{sum(card['dropped'].values())} questions not asked, by reason in the card")
    say(
        f"oracle {percent(oracle['accuracy'])} %; blind readers at most {100 * gate['largest_excess']:+.1f} points "
        "above chance in any task"
    )
