"""`medproof certify`: randomized smoothing certificates for the items of a data set; resumes by itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from medproof.cli.console import next_command, note, say
from medproof.cli.options import (
    AllowIdentified,
    Device,
    DryRun,
    Dtype,
    Images,
    Limit,
    ModeChoice,
    RunFolder,
    Seed,
    Split,
)
from medproof.errors import UserError

if TYPE_CHECKING:
    from medproof.datasets import Dataset
    from medproof.smoothing.scheme import Scheme

BaseChoice = Literal["option_argmax", "greedy", "sampled"]


def certify(
    sigma: Annotated[
        list[float], typer.Option("--sigma", metavar="S", help="Noise in [0, 1] pixels, as 0.25; repeat for several.")
    ],
    out: RunFolder,
    model: Annotated[str | None, typer.Option("--model", metavar="M", help="nano, a local folder or a hub id.")] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="D", help="sample, a data folder or file, as for medproof run.")
    ] = None,
    plan: Annotated[
        str,
        typer.Option(
            "--plan", metavar="P", help="fixed(N), sequential(target=R) or sequential(precision=W), with first=, last=."
        ),
    ] = "fixed(1000)",
    alpha: Annotated[float, typer.Option("--alpha", help="Error of each certificate.")] = 0.001,
    bound: Annotated[
        str, typer.Option("--bound", metavar="B", help="simultaneous, or one_class(N0).")
    ] = "simultaneous",
    base: Annotated[
        BaseChoice, typer.Option("--base", help="What votes: the likeliest letter, a greedy or a sampled reply.")
    ] = "option_argmax",
    mode: Annotated[
        ModeChoice | None, typer.Option("--mode", help="Prompt; default: direct, think for greedy and sampled.")
    ] = None,
    rounded: Annotated[
        bool, typer.Option("--rounded", help="Round noisy images to the 1/255 grid, without clipping.")
    ] = False,
    blind: Annotated[
        bool, typer.Option("--blind/--no-blind", help="Also answer clean and blank images, to stand beside the curve.")
    ] = True,
    from_counts: Annotated[
        bool, typer.Option("--from-counts", help="Only work out what the logged votes of RUN prove; needs no model.")
    ] = False,
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="I/K", help="Only the I-th of K parts of the images.")
    ] = None,
    images: Images = None,
    allow_identified: AllowIdentified = False,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Noisy copies in one pass.")] = 32,
    limit: Limit = None,
    seed: Seed = 0,
    split: Split = "test",
    device: Device = "auto",
    dtype: Dtype = "auto",
    dry_run: DryRun = False,
) -> None:
    """Certify answers: no change of the image within the printed L2 radius changes what the smoothed model answers.

    Votes are logged as they are drawn; running the same command again goes on. Exit code 0 only when every item is
    decided.
    """
    from medproof.cli.certify_run import write_certificates
    from medproof.cli.certify_tables import show_certified
    from medproof.smoothing.plans import parse_plan
    from medproof.smoothing.scheme import Scheme, parse_bound

    schemes = [Scheme(value, alpha, parse_bound(bound), parse_plan(plan)) for value in dict.fromkeys(sigma)]
    if from_counts:
        write_certificates(out, schemes, base, rounded)
        show_certified(out, schemes)
        next_command("report", out)
        return
    if model is None or data is None:
        raise UserError("give --model and --data, or --from-counts to look into the logged votes of --out again")
    mode = mode or ("direct" if base == "option_argmax" else "think")
    if base == "option_argmax" and mode != "direct":
        raise UserError("option_argmax reads the letter that opens the reply: use --mode direct, or --base greedy")

    from medproof.cli.inputs import select
    from medproof.cli.pipeline import text_prior_of
    from medproof.datasets import load
    from medproof.evaluation.images import check

    everything = load(data, images_root=images, seed=seed)
    selected = select(everything, split, limit, data)
    part = selected if shard is None else _shard(selected, shard)
    for scheme in schemes:
        scheme.check(max(len(item.options) for item in selected.items) + (base != "option_argmax"))
    check(part, allow_identified=allow_identified)
    if everything.quarantined:
        first = everything.quarantined[0]
        note(f"{len(everything.quarantined)} rows quarantined; the first: {first.where}: {first.reason}")
    if dry_run:
        for line in _plan_lines(part, schemes, model, base, out):
            say(line)
        next_command(*(word for word in sys.argv[1:] if word != "--dry-run"))
        return

    from medproof.cli.certify_run import Job, execute
    from medproof.models import load as load_model

    job = Job(
        selected=selected,
        part=part,
        schemes=schemes,
        base=base,
        rounded=rounded,
        blind=blind,
        mode=mode,
        split=split,
        limit=limit,
        seed=seed,
        batch=batch,
        out=out,
        text_prior=text_prior_of(everything, selected),
        allow_identified=allow_identified,
    )
    outcome = execute(job, load_model(model, device=device, dtype=dtype), model)
    if len(outcome.errors) == len(part.items):
        outcome.require_complete()
    write_certificates(out, schemes, base, rounded)
    show_certified(out, schemes)
    next_command("report", out)
    outcome.require_complete()


def _shard(data: Dataset, text: str) -> Dataset:
    """The I-th of K parts, by image: questions on one image share its noisy copies."""
    from dataclasses import replace

    first, _, last = text.partition("/")
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise UserError(f"{text!r} is no shard: give I/K with 1 <= I <= K, as in --shard 1/4")
    images = dict.fromkeys((item.image, item.frame) for item in data.items)
    kept = set(list(images)[int(first) - 1 :: int(last)])
    return replace(data, items=tuple(item for item in data.items if (item.image, item.frame) in kept))


def _plan_lines(data: Dataset, schemes: list[Scheme], model: str, base: str, out: Path) -> list[str]:
    images = len({(item.image, item.frame) for item in data.items})
    first = schemes[0]
    most = first.plan.looks[-1] + first.bound.n0
    return [
        f"would certify {len(data.items)} items ({images} images) of {data.name} with {model}, {base}, into {out}",
        f"{first.plan.key}, {first.bound.key}, alpha {first.alpha:g}: at most {most:,} draws a decision",
        *(f"  sigma {scheme.sigma:g}" for scheme in schemes),
    ]
