"""`medproof audit DATA [--train DATA]`: can this data set be answered without looking, and do its splits leak?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medproof.cli.audit_tables import show_report
from medproof.cli.console import next_command, say
from medproof.cli.options import DryRun, Images, Limit

if TYPE_CHECKING:
    from medproof.datasets import Dataset


def audit(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Data to audit, as in run --data.")],
    train: Annotated[
        str | None,
        typer.Option("--train", metavar="DATA", help="Training data; default: the training split of DATA."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write DIR/audit.json.")] = None,
    images: Images = None,
    skip_images: Annotated[bool, typer.Option("--skip-images", help="Compare images by path, open none.")] = False,
    limit: Limit = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the option order of annotated corpora.")] = 0,
    dry_run: DryRun = False,
) -> None:
    """Find out what a data set gives away: text prior, letter and length cues, leaks between splits, shortcuts.

    Everything that is fitted is fitted on training items only. Takes seconds and loads no model.
    """
    from medproof.cli.progress import display
    from medproof.datasets import load
    from medproof.datasets.audit import audit_dataset

    dataset = load(data, images_root=images, seed=seed)
    training = None if train is None else load(train, images_root=images, seed=seed)
    if dry_run:
        _plan(dataset, training)
        return
    with display() as shown:
        report = audit_dataset(dataset, training, images=not skip_images, limit=limit, progress=shown.update)
    show_report(report)
    if out is not None:
        say(f"audit: {report.write(out)}")
    conditions = ("--condition", "clean", "--condition", "blank", "--condition", "shuffled")
    next_command("run", "--model", "nano", "--data", data, *conditions, "--out", "runs/first")


def _plan(dataset: Dataset, training: Dataset | None) -> None:
    splits = {split: sum(item.split == split for item in dataset.items) for split in ("train", "test")}
    say(
        f"would audit {dataset.name}: {splits['test']} test and {splits['train']} training items, "
        f"{len(dataset.quarantined)} rows quarantined"
    )
    if training is not None:
        say(f"fitted on {training.name}: {len(training.items)} items")
