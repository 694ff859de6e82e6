"""`medproof train RECIPE [key=value ...]`: train what a recipe describes; resumes from its last checkpoint."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medproof.cli.console import complain, next_command, say
from medproof.cli.options import Device, DryRun

if TYPE_CHECKING:
    from medproof.cli.progress import Display
    from medproof.training.recipe import AnyRecipe


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
    stop_at: Annotated[
        int | None,
        typer.Option("--stop-at", metavar="N", min=1, help="Stop after N steps, with a checkpoint and a model."),
    ] = None,
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

    with display() as shown:
        model = run_recipe(settings, folder, shown, device, resume, stop_at)
    say(f"trained: {model}")
    data = ("--data", settings.data.train, "--condition", "clean", "--condition", "blank")
    next_command("run", "--model", model, *data, "--out", f"{folder}-run")


def run_recipe(
    settings: AnyRecipe, folder: Path, shown: Display, device: str, resume: bool = True, stop_at: int | None = None
) -> Path:
    """Train with progress on `shown`; returns the folder of the model. A training that fails ends the command."""
    from medproof.training import grpo, sft
    from medproof.training.optim import TrainingError
    from medproof.training.session import TrainProgress

    def advance(at: TrainProgress) -> None:
        shown.update(f"training {settings.name}", at.step, at.total, at.remark)

    try:
        if settings.kind == "grpo":
            return grpo.train(settings, folder, resume, advance, device, stop_at)
        return sft.train(settings, folder, resume, advance, device, stop_at)
    except TrainingError as error:
        raise typer.Exit(complain(str(error), 1)) from error


def is_trained(settings: AnyRecipe, folder: Path) -> bool:
    """Whether a training by exactly these settings has ended in `folder`, by itself or by its own rule."""
    from medproof.evaluation.provenance import training

    return (training(str(folder / "model")) or {}).get("recipe") == settings.model_dump(mode="json")


def choose_device(device: str) -> None:
    """Make one GPU the only one that is seen; this must happen before torch is first imported."""
    index = device.removeprefix("cuda:")
    if index != device:
        os.environ["CUDA_VISIBLE_DEVICES"] = index


def _plan(recipe: AnyRecipe, folder: Path) -> None:
    from medproof.datasets import load

    root = None if recipe.data.images is None else Path(recipe.data.images)
    data = load(
        recipe.data.train,
        images_root=root,
        split="train",
        seed=recipe.seed,
        license_classes=recipe.data.license_classes,
    )
    wanted = [item for item in data.items if recipe.data.keeps(item)]
    optim, every = recipe.optim, recipe.checkpoint.every
    say(f"would train {recipe.model.init} on {len(wanted)} items of {data.name} ({len(data.quarantined)} quarantined)")
    unit = "groups" if recipe.kind == "grpo" else "examples"
    say(f"{optim.steps} steps of {optim.batch_size} {unit}, a checkpoint every {every}, into {folder}")
    if recipe.kind == "grpo":
        sampled = recipe.grpo.steps_per_generation * optim.batch_size
        rewards = ", ".join(reward.name for reward in recipe.rewards)
        say(
            f"every {recipe.cycle} steps {sampled} groups of {recipe.grpo.num_generations} completions, "
            f"rewarded by {rewards}; {math.ceil(optim.steps / recipe.cycle)} such cycles"
        )
