"""What `medproof certify` prints: certified accuracy, and beside it what a blind model certifies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medproof.cli.console import new_table, percent, show

if TYPE_CHECKING:
    from medproof.smoothing.scheme import Scheme


def show_certified(run: Path, schemes: Sequence[Scheme]) -> None:
    """One row per scheme, those given and no others of the run."""
    from medproof.report.certificates import certified_json
    from medproof.runs.store import read_run
    from medproof.scoring.scored import score

    report = certified_json(score(read_run(run)), run)
    wanted = {(s.sigma, s.alpha, s.bound.key, s.plan.key) for s in schemes}
    blocks = report["sets"] if report else []
    shown = [b for b in blocks if (b["sigma"], b["alpha"], b["bound"], b["plan"]) in wanted]
    if not shown:
        return
    first = shown[0]
    title = (
        f"{first['base']}, {first['plan']}, {first['bound']}, alpha {first['alpha']:g}: {first['n']} items; shares in "
        "per cent, radii in [0, 1] pixels"
    )
    names = ("certified", "at sigma/2", "RA*", "ACR", "abstains", "blank image", "text prior", "draws/item")
    table = new_table(title, ("sigma", *names), right=names)
    for block in shown:
        table.add_row(*_row(block))
    show(table)


def _row(block: dict[str, Any]) -> list[str]:
    from medproof.report.certificates import point_at

    start, half = point_at(block, 0.0), point_at(block, block["sigma"] / 2)
    blank, prior = block["blank"], block["text_prior"]
    return [
        f"{block['sigma']:g}",
        percent(start["certified_accuracy"]),
        percent(half["certified_accuracy"]),
        percent(start["RA_star"]),
        f"{block['ACR']['value']:.3f}",
        percent(block["abstention"]["value"]),
        percent(None if blank is None else blank["value"]),
        percent(None if prior is None else prior["accuracy"]),
        f"{block['mean_draws']:,.0f}",
    ]
