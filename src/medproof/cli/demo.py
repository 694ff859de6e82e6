"""`medproof demo`: the whole story on built-in images with the built-in model, on a CPU, without a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medproof.cli.console import next_command, say
from medproof.cli.options import Device, DryRun, Limit, ModeChoice, Seed
from medproof.cli.train import choose_device, is_trained, run_recipe

if TYPE_CHECKING:
    from medproof.cli.pipeline import Plan
    from medproof.training.recipe import AnyRecipe

DEMO_MODEL = "nano"
DEMO_DATA = "sample"
RECIPE = Path(__file__).with_name("demo_at_grpo.yaml")


@dataclass(frozen=True)
class Act:
    """One run of the demo: a prompt, conditions, how many items (None: the whole test split), and the recipe of the
    model that is asked (None: the built-in one as it is)."""

    name: str
    mode: ModeChoice
    items: int | None
    conditions: tuple[str, ...]
    recipe: Path | None = None


ACTS = (
    Act("direct", "direct", None, ("clean", "blank", "shuffled", "random_sign(8/255)", "pgd(linf,8/255,20)")),
    Act(
        "sweep",
        "direct",
        128,
        ("clean", "blank", "shuffled", "pgd(linf,2/255,20)", "pgd(linf,4/255,20)", "pgd(linf,6/255,20)"),
    ),
    Act("think", "think", 160, ("clean", "blank", "shuffled", "random_sign(8/255)", "pgd(linf,8/255,20)")),
    Act("at_grpo", "direct", 128, ("clean", "blank", "shuffled", "pgd(linf,6/255,20)"), RECIPE),
)
"""What the demo answers. To fit into minutes on two cores, the costlier acts take a fixed share of the items. The last
one trains first, against the attack that the sweep shows it without training."""


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where runs, audit and report go.")] = Path("demo"),
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = "auto",
    dry_run: DryRun = False,
) -> None:
    """Audit the built-in images, ask the built-in model under attack, train it against the attack, write the report.

    Interrupted, it goes on.
    """
    from medproof.cli.headline import show_headline
    from medproof.cli.pipeline import execute, require_complete
    from medproof.cli.progress import display

    plans = make_plans(out, limit, seed)
    recipes = {act.name: recipe_of(act.recipe, seed) for act in ACTS if act.recipe is not None}
    if dry_run:
        for act, plan in zip(ACTS, plans, strict=True):
            if (recipe := recipes.get(act.name)) is not None:
                say(f"would train {recipe.model.init} for {recipe.optim.steps} steps into {training_folder(out, act)}")
            for line in plan.lines():
                say(line)
        return
    choose_device(device)
    from medproof.datasets.audit import audit_dataset
    from medproof.models import load as load_model
    from medproof.report import build
    from medproof.runs.store import read_run

    summaries, trained = [], []
    with display() as shown:
        findings = audit_dataset(plans[0].data, progress=shown.update)
        findings.write(out)
        model = load_model(DEMO_MODEL, device=device)
        for act, plan in zip(ACTS, plans, strict=True):
            asked = model
            if act.name in recipes:
                trained.append(training_folder(out, act))
                if not is_trained(recipes[act.name], trained[-1]):
                    run_recipe(recipes[act.name], trained[-1], shown, device)
                asked = load_model(plan.model_spec, device=device)
            summaries.append(execute(plan, asked, shown))
        shown.update("report", 0, 1)
        page, numbers = build([*(plan.out for plan in plans), *trained], out, findings.to_dict())
        shown.update("report", 1, 1)
    stored = [read_run(plan.out) for plan in plans]
    for run in stored:
        show_headline(run)
    for finding in findings.findings:
        say(f"! audit: {finding}")
    say(f"report: {page}")
    say(f"numbers: {numbers}")
    for summary, run in zip(summaries, stored, strict=True):
        require_complete(summary, run)
    next_command("run", "--model", DEMO_MODEL, "--data", "YOUR_DATA", "--condition", "clean", "--out", "runs/first")


def make_plans(out: Path, most: int | None, seed: int) -> list[Plan]:
    """One plan per act, on the test split of the built-in images; at most `most` items each."""
    from medproof.cli.inputs import resolve_conditions, select
    from medproof.cli.pipeline import Plan
    from medproof.datasets import load

    data = load(DEMO_DATA, seed=seed)
    return [
        Plan(
            data=data,
            selected=select(data, "test", limit, DEMO_DATA),
            conditions=tuple(resolve_conditions(act.conditions)),
            model_spec=DEMO_MODEL if act.recipe is None else str(training_folder(out, act) / "model"),
            mode=act.mode,
            split="test",
            limit=limit,
            seed=seed,
            out=out / "runs" / act.name,
        )
        for act in ACTS
        for limit in [min((n for n in (most, act.items) if n is not None), default=None)]
    ]


def training_folder(out: Path, act: Act) -> Path:
    """Where the training of an act goes."""
    return out / "training" / act.name


def recipe_of(path: Path, seed: int) -> AnyRecipe:
    """A recipe of the demo, with the demo's seed."""
    from medproof.training.recipe import load_recipe

    return load_recipe(path, [f"seed={seed}"])
