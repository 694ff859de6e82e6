"""`medproof demo`: the whole story on built-in images with the built-in model, on a CPU, without a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medproof.cli.console import next_command, say
from medproof.cli.options import Device, DryRun, Limit, ModeChoice, Seed

if TYPE_CHECKING:
    from medproof.cli.pipeline import Plan

DEMO_MODEL = "nano"
DEMO_DATA = "sample"


@dataclass(frozen=True)
class Act:
    """One run of the demo: a prompt, conditions, and how many items (None: the whole test split)."""

    name: str
    mode: ModeChoice
    items: int | None
    conditions: tuple[str, ...]


ACTS = (
    Act("direct", "direct", None, ("clean", "blank", "shuffled", "random_sign(8/255)", "pgd(linf,8/255,20)")),
    Act(
        "sweep",
        "direct",
        160,
        ("clean", "blank", "shuffled", "pgd(linf,1/255,20)", "pgd(linf,2/255,20)", "pgd(linf,4/255,20)"),
    ),
    Act("think", "think", 160, ("clean", "blank", "shuffled", "random_sign(8/255)", "pgd(linf,8/255,20)")),
)
"""What the demo answers. To fit into minutes on two cores, the costlier acts take a fixed share of the items."""


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where runs, audit and report go.")] = Path("demo"),
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = "auto",
    dry_run: DryRun = False,
) -> None:
    """Audit the built-in images, ask the built-in model under attack, write the report. Interrupted, it goes on."""
    from medproof.cli.headline import show_headline
    from medproof.cli.pipeline import execute, require_complete
    from medproof.cli.progress import display

    plans = make_plans(out, limit, seed)
    if dry_run:
        for line in (line for plan in plans for line in plan.lines()):
            say(line)
        return
    from medproof.datasets.audit import audit_dataset
    from medproof.models import load as load_model
    from medproof.report import build
    from medproof.runs.store import read_run

    with display() as shown:
        findings = audit_dataset(plans[0].data, progress=shown.update)
        findings.write(out)
        model = load_model(DEMO_MODEL, device=device)
        summaries = [execute(plan, model, shown) for plan in plans]
        shown.update("report", 0, 1)
        page, numbers = build([plan.out for plan in plans], out, findings.to_dict())
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
            model_spec=DEMO_MODEL,
            mode=act.mode,
            split="test",
            limit=limit,
            seed=seed,
            out=out / "runs" / act.name,
        )
        for act in ACTS
        for limit in [min((n for n in (most, act.items) if n is not None), default=None)]
    ]
