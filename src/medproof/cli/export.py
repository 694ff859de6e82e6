"""`medproof export RUN --to inspect|hf|card --out PATH`: runs and benchmarks in other tools' formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from medproof.cli.console import note, say
from medproof.cli.options import DryRun
from medproof.errors import UserError


def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of medproof run; for hf and card also of bench build.")
    ],
    to: Annotated[
        Literal["inspect", "hf", "card"],
        typer.Option("--to", help="Inspect logs, a Hugging Face dataset folder, or Croissant metadata."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="Folder to write into; for card also a .json.")],
    copy_all: Annotated[
        bool,
        typer.Option("--copy-all", help="Also copy images whose licence class is not permissive; check that you may."),
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Write what a run or a benchmark holds in another tool's format."""
    from medproof.interchange.source import held_back, read_source

    source = read_source(run)
    if to == "inspect" and source.run is None:
        raise UserError(f"{run} is a benchmark: Inspect logs are made of a run; give a folder of medproof run")
    if (line := held_back(source.items)) is not None and to != "card":
        does = "their images are copied, as asked" if copy_all else "their images are named, not copied (--copy-all)"
        note(f"warning: {line}: {does}")
    elif line is not None:
        note(f"warning: {line}")
    if dry_run:
        say(f"would export {len(source.items)} items of {source.name} to {out} as {to}")
        return
    if to == "inspect":
        from medproof.interchange.inspect_log import write_inspect

        assert source.run is not None
        paths = write_inspect(source.run, out, copy_all=copy_all)
        say(f"{len(paths)} logs in {out}")
        say(f"next: inspect view --log-dir {out}")
    elif to == "hf":
        from medproof.interchange.hf_folder import write_hf

        for path in write_hf(source, out, copy_all=copy_all):
            say(f"written: {path}")
        say(f'next: datasets.load_dataset("{out}")')
    else:
        from medproof.interchange.croissant import write_card

        say(f"card: {write_card(source, out)}")
