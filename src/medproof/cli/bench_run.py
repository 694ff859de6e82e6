"""`medproof bench run`: one model through all protocols and perturbations of the benchmark; resumes by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medproof.cli.console import note
from medproof.cli.options import (
    AllowIdentified,
    Asked,
    BatchTokens,
    Device,
    DryRun,
    Dtype,
    Images,
    Limit,
    ModelName,
    RunFolder,
    Seed,
    Split,
)
from medproof.errors import UserError

if TYPE_CHECKING:
    from medproof.records import Condition, Item

CONDITIONS: dict[str, tuple[str, ...]] = {
    "independent": ("clean",),
    # Behind the right earlier answers a text may tell more than the picture: the grey image says how much.
    "teacher_forced": ("steps(teacher_forced)", "steps(teacher_forced,image=blank)"),
    "self_conditioned": ("steps(self_conditioned)",),
    "joint": ("steps(joint)",),
}


def bench_run(
    model: ModelName,
    data: Annotated[
        str, typer.Option("--data", metavar="BENCH", help="Folder that `bench build` made, or an Items JSONL.")
    ],
    out: RunFolder,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol",
            metavar="P",
            help=f"{', '.join(CONDITIONS)}; repeat; default: all. independent is always run: pairs need it.",
        ),
    ] = None,
    perturbations: Annotated[
        str,
        typer.Option(
            "--perturbations",
            metavar="all|none|F,F",
            help="hints, pushback, wording, cues, removal, swap, geometry, corruptions, adversarial, options.",
        ),
    ] = "all",
    mode: Asked = "direct",
    images: Images = None,
    allow_identified: AllowIdentified = False,
    batch_tokens: BatchTokens = None,
    limit: Limit = None,
    seed: Seed = 0,
    split: Split = "test",
    device: Device = "auto",
    dtype: Dtype = "auto",
    dry_run: DryRun = False,
) -> None:
    """Run a model through the protocols and perturbations of the benchmark, each with its control.

    Running the same command again skips what is stored. Exit code 0 only when every item has its answer.
    """
    from medproof.cli.run import run
    from medproof.datasets import load
    from medproof.models.builtin import BASELINES

    folder = Path(data) / "items.jsonl"
    data = str(folder) if folder.is_file() else data
    items = load(data, images_root=images, seed=seed, split=split, limit=limit).items
    if all(item.stage is None for item in items):
        raise UserError(f"no item of {data} has a stage: make a benchmark first (medproof bench build --data {data})")
    for name in protocol or ():
        if name not in CONDITIONS:
            raise UserError(f"no protocol is called {name!r}: there are {', '.join(CONDITIONS)}")
    conditions = [text for name in CONDITIONS if name in (protocol or CONDITIONS) for text in CONDITIONS[name]]
    conditions += [condition.key for condition in _perturbed(perturbations, items, model)]
    if model in BASELINES and "steps(joint)" in conditions:
        conditions.remove("steps(joint)")
        note(f"left out: steps(joint): {model} answers one question at a time")
    run(
        model=model,
        data=data,
        out=out,
        condition=["clean", *conditions],
        mode=mode,
        images=images,
        allow_identified=allow_identified,
        batch_tokens=batch_tokens,
        limit=limit,
        seed=seed,
        split=split,
        device=device,
        dtype=dtype,
        dry_run=dry_run,
    )


def _perturbed(text: str, items: Sequence[Item], model: str) -> list[Condition]:
    """The perturbations asked for, without those that this model or this machine cannot run, which are named."""
    from medproof.conditions.families import FAMILIES, perturbations
    from medproof.conditions.registry import kind_of
    from medproof.models.builtin import BASELINES

    if text == "none":
        return []
    names = list(FAMILIES) if text == "all" else [name.strip() for name in text.split(",")]
    found, reasons = perturbations(names, max(len(item.options) for item in items))
    white_box = [condition for condition in found if kind_of(condition).needs_gradients]
    if (model.startswith("openai:") or model in BASELINES) and white_box:
        found = [condition for condition in found if condition not in white_box]
        reasons.append(f"{', '.join(c.key for c in white_box)}: {model} gives no gradients")
    for reason in reasons:
        note(f"left out: {reason}")
    return found
