"""`medproof train RECIPE [key=value ...]`: train what a recipe describes; resumes from its last checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medproof.cli.console import complain, next_command, say
from medproof.cli.options import Device, DryRun

if TYPE_CHECKING:
    from medproof.training.recipe import Recipe


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML file of recipes/.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="Settings to override, as in optim.steps=100.", show_default=False
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Default: runs/NAME of the recipe.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on from the last checkpoint in --out, where there is one.")
    ] = True,
    device: Device = "auto",
    dry_run: DryRun = False,
) -> None:
    """Train the model that a recipe describes."""
    from medproof.training.recipe import load_recipe

    settings = load_recipe(recipe, overrides or [])
    folder = out or Path("runs") / settings.name
    if dry_run:
        _plan(settings, folder)
        return
    choose_device(device)
    from medproof.cli.progress import display
    from medproof.training.sft import TrainingError, TrainProgress
    from medproof.training.sft import train as run_training

    with display() as shown:

        def advance(step: TrainProgress) -> None:
            shown.update(f"training {settings.name}", step.step, step.total, f"loss {step.loss:.3f}")

        try:
            model = run_training(settings, folder, resume=resume, progress=advance, device=device)
        except TrainingError as error:
            raise typer.Exit(complain(str(error), 1)) from error
    say(f"trained: {model}")
    data = ("--data", settings.data.train, "--condition", "clean", "--condition", "blank")
    next_command("run", "--model", model, *data, "--out", f"{folder}-run")


def choose_device(device: str) -> None:
    """Make one GPU the only one that is seen; this must happen before torch is first imported."""
    index = device.removeprefix("cuda:")
    if index != device:
        os.environ["CUDA_VISIBLE_DEVICES"] = index


def _plan(recipe: Recipe, folder: Path) -> None:
    from medproof.datasets import load

    root = None if recipe.data.images is None else Path(recipe.data.images)
    data = load(
        recipe.data.train,
        images_root=root,
        split="train",
        seed=recipe.seed,
        license_classes=recipe.data.license_classes,
    )
    wanted = [
        item
        for item in data.items
        if (recipe.data.modalities is None or item.modality in recipe.data.modalities)
        and (recipe.data.question_types is None or item.question_type in recipe.data.question_types)
    ]
    optim, every = recipe.optim, recipe.checkpoint.every
    say(f"would train {recipe.model.init} on {len(wanted)} items of {data.name} ({len(data.quarantined)} quarantined)")
    say(f"{optim.steps} steps of {optim.batch_size} examples, a checkpoint every {every}, into {folder}")
