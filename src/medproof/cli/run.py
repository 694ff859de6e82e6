"""`medproof run`: answer the items of a data set under conditions and score the answers; resumes by itself."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from medproof.cli.console import next_command, note, say
from medproof.cli.options import (
    AllowIdentified,
    Asked,
    BatchTokens,
    Data,
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


def run(
    model: ModelName,
    data: Data,
    out: RunFolder,
    condition: Annotated[
        list[str],
        typer.Option(
            "--condition", metavar="C", help="name or name(arg, key=value), as in pgd(linf,8/255,20); repeat."
        ),
    ],
    mode: Asked = "direct",
    images: Images = None,
    allow_identified: AllowIdentified = False,
    batch_tokens: BatchTokens = None,
    limit: Limit = None,
    seed: Seed = 0,
    split: Split = "test",
    device: Device = "auto",
    dtype: Dtype = "auto",
    sanity: Annotated[
        bool, typer.Option("--sanity", help="Also check the attack itself: is it strong enough to be believed?")
    ] = False,
    sanity_items: Annotated[
        int, typer.Option("--sanity-items", min=1, help="Items that the checks use, a fixed choice.")
    ] = 64,
    dry_run: DryRun = False,
) -> None:
    """Answer the items of a data set under one or more conditions.

    Running the same command again skips what is stored. Exit code 0 only when every item has its answer.
    """
    from medproof.cli.headline import show_headline, show_sanity
    from medproof.cli.inputs import resolve_conditions, select
    from medproof.cli.pipeline import Plan, check_attacks, execute, require_complete
    from medproof.cli.progress import display
    from medproof.datasets import load
    from medproof.evaluation.images import check
    from medproof.sanity.plan import subject

    conditions = resolve_conditions(condition)
    if sanity:
        subject(conditions)  # there may be no attack to check
    everything = load(data, images_root=images, seed=seed)
    selected = select(everything, split, limit, data)
    check(selected, allow_identified=allow_identified)
    if everything.quarantined:
        first = everything.quarantined[0]
        note(f"{len(everything.quarantined)} rows quarantined; the first: {first.where}: {first.reason}")
    plan = Plan(
        data=everything,
        selected=selected,
        conditions=tuple(conditions),
        model_spec=model,
        mode=mode,
        split=split,
        limit=limit,
        seed=seed,
        out=out,
        batch_tokens=batch_tokens,
    )
    if dry_run:
        for line in plan.lines():
            say(line)
        if sanity:
            say(f"then check {subject(conditions).key} on {min(sanity_items, len(selected.items))} items")
        next_command(*(word for word in sys.argv[1:] if word != "--dry-run"))
        return
    from medproof.models import load as load_model
    from medproof.runs.store import read_run

    scored_model = load_model(model, device=device, dtype=dtype, train=everything.items)
    with display() as shown:
        summary = execute(plan, scored_model, shown, allow_identified=allow_identified)
        if sanity:
            check_attacks(plan, scored_model, shown, sanity_items, allow_identified=allow_identified)
    stored = read_run(out)
    show_headline(stored)
    if sanity:
        show_sanity(stored)
    next_command("report", out)
    require_complete(summary, stored)
