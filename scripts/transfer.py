"""Med-R1's transfer tables: train on one modality or question type at a time, test on all, draw the matrices.

    python scripts/transfer.py recipes/med_r1/nano_transfer.yaml --data DATA --by modality --by question_type \
      --out runs/transfer [key=value ...]

One `medproof train` per value in the training split and one on everything, then `medproof run` (clean and blank) of
each model and of the one they began from on the test split, then `medproof report`. `key=value` goes to every training.
One command at a time, each printed before it runs. Interrupted, the same line goes on: every command resumes by
itself.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medproof.datasets import load
from medproof.errors import UserError
from medproof.scoring.transfer import GROUPS
from medproof.training.recipe import AnyRecipe, load_recipe

CONDITIONS = ("clean", "blank")


def main() -> int:
    """Run the plan; stops at the first command that fails, with its exit code."""
    args = _arguments()
    overrides = [*args.overrides, f"data.train={json.dumps(args.data)}"]
    try:
        recipe = load_recipe(args.recipe, overrides)
        trainings = plan_trainings(recipe, args.data, args.by)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    for command in plan(args, recipe, overrides, trainings):
        print("$ medproof " + shlex.join(command), flush=True)
        code = subprocess.run([sys.executable, "-m", "medproof", *command], check=False).returncode
        if code:
            return code
    return 0


@dataclass(frozen=True)
class Training:
    """One model: `filters` are the overrides that choose its data."""

    name: str
    filters: tuple[str, ...]


def plan_trainings(recipe: AnyRecipe, data: str, groups: Sequence[str]) -> list[Training]:
    """One training on everything and one per value of each group among the training items that the recipe keeps."""
    section = recipe.data
    images = None if section.images is None else Path(section.images)
    found = load(
        data, images_root=images, split="train", seed=recipe.seed, license_classes=section.license_classes
    ).items
    trainings = [Training("all", ())]
    for group in groups:
        for value in sorted({str(getattr(item, group)) for item in found if section.keeps(item)}):
            name = f"{group}-{re.sub('[^a-z0-9]+', '-', value.lower()).strip('-')}"
            trainings.append(Training(name, (f"data.{GROUPS[group]}={json.dumps([value])}",)))
    return trainings


def plan(
    args: argparse.Namespace, recipe: AnyRecipe, overrides: Sequence[str], trainings: Sequence[Training]
) -> list[list[str]]:
    """The commands, without the leading `medproof`."""
    mode = max(recipe.data.modes, key=lambda mode: recipe.data.modes[mode])
    device = ["--device", args.device]
    chosen = [*(["--images", recipe.data.images] if recipe.data.images else []), "--split", "test", "--mode", mode]
    chosen += ["--limit", str(args.limit)] if args.limit else []
    chosen += [word for condition in CONDITIONS for word in ("--condition", condition)]
    models = {"initial": recipe.model.init} | {
        one.name: str(args.out / "train" / one.name / "model") for one in trainings
    }
    train = [
        ["train", str(args.recipe), *overrides, *one.filters, "--out", str(args.out / "train" / one.name), *device]
        for one in trainings
    ]
    run = [
        ["run", "--model", model, "--data", args.data, *chosen, "--out", str(args.out / "runs" / name), *device]
        for name, model in models.items()
    ]
    return [*train, *run, ["report", *(str(args.out / "runs" / name) for name in models), "--out", str(args.out)]]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--data", required=True, help="as of medproof run: it needs a train and a test split")
    parser.add_argument("--by", action="append", choices=list(GROUPS), required=True, help="repeat for both")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="at most so many test items")
    parser.add_argument("--device", default="auto")
    return parser.parse_intermixed_args()


if __name__ == "__main__":
    raise SystemExit(main())
