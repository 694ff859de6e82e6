"""The ablation of AT-GRPO: objective x conditioning x share of clean groups, with the cost of a step.

    python scripts/ablate.py recipes/safemed_r1/nano_at_grpo_direct.yaml --out runs/ablation \\
      --objective answer --objective margin --clean-share 0 --clean-share 0.5 [--limit N] [key=value ...]

One `medproof train` per cell of the grid, one of the plain recipe (adversarial=null), and `medproof run` of each and of
the model that all began from: clean, blank and under `--attack`. Combinations that a recipe refuses are left out and
named. `key=value` goes to every training. Writes OUT/ablation.md and OUT/ablation.json. Interrupted, the same line goes
on; cells that are finished are not run again.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from medproof.cli.train import is_trained
from medproof.conditions import resolve
from medproof.errors import UserError
from medproof.runs.atomic import write_text
from medproof.runs.store import read_run
from medproof.scoring.scored import score
from medproof.scoring.stages import stages
from medproof.training.recipe import AnyRecipe, load_recipe

OBJECTIVES = ("answer", "margin", "kl", "policy")
CONDITIONINGS = {
    "both": {"rollout": "attacked", "old": "attacked", "policy": "attacked"},
    "loss": {"rollout": "clean", "old": "attacked", "policy": "attacked"},
    "rollout": {"rollout": "attacked", "old": "clean", "policy": "clean"},
}
"""What sees the attacked image: the sampling of replies, the loss, or both."""
START = "start"
SHARES = ("clean", "blank", "RA", "RA*", "kept")


@dataclass(frozen=True)
class Cell:
    """One training: `overrides` make it of the recipe. `model` overrides what it trains: the start is not trained."""

    name: str
    overrides: tuple[str, ...]
    recipe: AnyRecipe | None


def main() -> int:
    """Run the grid; stops at the first command that fails, with its exit code."""
    args = _arguments()
    try:
        cells, refused = plan(args)
        attack = resolve(args.attack or default_attack(args)).key
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    for line in refused:
        print(f"left out: {line}", flush=True)
    for cell in cells:
        for command in commands(args, cell, attack):
            print("$ medproof " + shlex.join(command), flush=True)
            code = subprocess.run([sys.executable, "-m", "medproof", *command], check=False).returncode
            if code:
                return code
    write(args, cells, refused, attack)
    return 0


def plan(args: argparse.Namespace) -> tuple[list[Cell], list[str]]:
    """The cells, the start and the plain recipe first, and why others are left out. Raises UserError for a recipe that
    has no attack to vary."""
    recipe = load_recipe(args.recipe, args.overrides)
    if recipe.adversarial is None or recipe.kind != "grpo":
        raise UserError(f"{args.recipe} is no AT-GRPO recipe: it needs kind: grpo and a section adversarial")
    plain = load_recipe(args.recipe, [*args.overrides, "adversarial=null"])
    cells = [Cell(START, (), None), Cell("plain", ("adversarial=null",), plain)]
    refused = []
    for objective, conditioning, share in product(args.objective, args.conditioning, args.clean_share):
        settings = {"objective": objective, **CONDITIONINGS[conditioning], "share": 1 - share}
        overrides = tuple(f"adversarial.{key}={value}" for key, value in settings.items())
        name = f"{objective}-{conditioning}-clean{share:g}"
        try:
            cells.append(Cell(name, overrides, load_recipe(args.recipe, [*args.overrides, *overrides])))
        except UserError as error:
            refused.append(f"{name}: {error}")
    return cells, refused


def default_attack(args: argparse.Namespace) -> str:
    """PGD with 20 steps in the ball of the recipe."""
    adversarial = load_recipe(args.recipe, args.overrides).adversarial
    assert adversarial is not None
    return f"pgd({adversarial.norm},{adversarial.eps},20)"


def commands(args: argparse.Namespace, cell: Cell, attack: str) -> list[list[str]]:
    """What is left to do for a cell, without the leading `medproof`."""
    recipe = cell.recipe or load_recipe(args.recipe, args.overrides)
    folder, run = args.out / "train" / cell.name, args.out / "runs" / cell.name
    todo = []
    if cell.recipe is not None and not is_trained(recipe, folder):
        overrides = [*args.overrides, *cell.overrides]
        todo.append(["train", str(args.recipe), *overrides, "--out", str(folder), "--device", args.device])
    conditions = ("clean", "blank", attack)
    if todo or not is_answered(run, conditions):
        mode = max(recipe.data.modes, key=lambda mode: recipe.data.modes[mode])
        model = recipe.model.init if cell.recipe is None else str(folder / "model")
        asked = [word for condition in conditions for word in ("--condition", condition)]
        chosen = ["--images", recipe.data.images] if recipe.data.images else []
        chosen += ["--limit", str(args.limit)] if args.limit else []
        about = ["--model", model, "--data", args.data or recipe.data.train, "--split", "test", "--mode", mode]
        todo.append(["run", *about, *chosen, *asked, "--out", str(run), "--device", args.device])
    return todo


def is_answered(run: Path, conditions: Sequence[str]) -> bool:
    """Whether a run holds an answer to every item under every condition."""
    if not (run / "run.json").is_file():
        return False
    scored = score(read_run(run))
    good = all(c in scored.outcomes and not scored.missing(c) for c in conditions)
    return good and all(o.status != "error" for c in conditions for o in scored.outcomes[c].values())


def write(args: argparse.Namespace, cells: Sequence[Cell], refused: Sequence[str], attack: str) -> None:
    """The table as Markdown and as JSON, printed too."""
    found = stages([score(read_run(args.out / "runs" / cell.name)) for cell in cells])
    assert found is not None
    rows = {row["run"]: row for row in found["rows"]}
    table = [_row(cell.name, rows[number], args.out / "train" / cell.name, attack) for number, cell in enumerate(cells)]
    head = ["", *SHARES, "steps", "s/step", "of it attack"]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in table:
        seconds = row["seconds_per_step"]
        took = [str(row["steps"]), "–" if seconds is None else f"{seconds:.2f}"]
        took.append("–" if row["attack_share"] is None else f"{100 * row['attack_share']:.0f} %")
        lines.append(_line([row["cell"], *("–" if row[k] is None else f"{100 * row[k]:.1f}" for k in SHARES), *took]))
    text = "\n".join([f"`{attack}`, n = {rows[0]['cells'][attack]['RA']['n']}; shares in per cent.", "", *lines]) + "\n"
    content = {"attack": attack, "recipe": str(args.recipe), "rows": table, "refused": list(refused)}
    write_text(args.out / "ablation.md", text)
    write_text(args.out / "ablation.json", json.dumps(content, indent=1, sort_keys=True) + "\n")
    print(text)


def _row(name: str, row: dict[str, Any], training: Path, attack: str) -> dict[str, Any]:
    cell = row["cells"][attack]
    metrics = training / "metrics.jsonl"
    lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.is_file() else []
    told = [json.loads(line) for line in lines]
    seconds, shares = ([row[key] for row in told if key in row] for key in ("step_time", "time/attack_share"))
    return {
        "cell": name,
        "clean": row["clean"]["accuracy"],
        "blank": row["blank"]["accuracy"],
        "RA": cell["RA"]["value"],
        "RA*": cell["RA_star"]["value"],
        "kept": cell["kept"]["value"],
        "steps": len(seconds),
        "seconds_per_step": statistics.median(seconds) if seconds else None,
        "attack_share": statistics.median(shares) if shares else None,
    }


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--objective", action="append", choices=OBJECTIVES, help="repeat; default: all")
    parser.add_argument("--conditioning", action="append", choices=list(CONDITIONINGS), help="repeat; default: all")
    parser.add_argument("--clean-share", action="append", type=float, help="repeat; default: 0 and 0.5")
    parser.add_argument("--attack", help="default: pgd with 20 steps in the ball of the recipe")
    parser.add_argument("--data", help="to ask; default: what the recipe trains on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="at most so many test items")
    parser.add_argument("--device", default="auto")
    args = parser.parse_intermixed_args()
    args.objective = args.objective or list(OBJECTIVES)
    args.conditioning = args.conditioning or list(CONDITIONINGS)
    args.clean_share = args.clean_share or [0.0, 0.5]
    return args


if __name__ == "__main__":
    raise SystemExit(main())
