"""`medproof doctor`: is this machine fit, and does the model answer the same alone and in a batch, once and again?"""

from __future__ import annotations

from typing import Annotated

import typer

from medproof.cli.console import new_table, next_command, say, show
from medproof.cli.options import Device, DryRun, DtypeChoice
from medproof.errors import UserError


def doctor(
    model: Annotated[
        str | None, typer.Option("--model", metavar="M", help="Model to check; default: the built-in nano.")
    ] = None,
    device: Device = "auto",
    dtype: Annotated[DtypeChoice, typer.Option("--dtype", help="As in medproof run.")] = "auto",
    dry_run: DryRun = False,
) -> None:
    """Check versions, devices, memory and extras, then batch invariance and determinism of a model."""
    from medproof.cli.machine import machine_checks

    name = model or "nano"
    if dry_run:
        say(f"would check versions, devices, memory, extras, and batch invariance and determinism of {name}")
        return
    checks = machine_checks()
    from medproof.cli.model_checks import model_checks
    from medproof.models import load as load_model
    from medproof.models.protocol import Scorer

    loaded = load_model(name, device=device, dtype=dtype)
    if not isinstance(loaded, Scorer):
        raise UserError(f"doctor compares option scores, and model {name} gives none: check a local model")
    checks += model_checks(loaded)
    table = new_table("medproof doctor", ("check", "state", "found", "what to do"))
    for check in checks:
        table.add_row(check.name, check.state, check.found, check.remedy)
    show(table)
    warnings = sum(check.state == "warn" for check in checks)
    say(f"{warnings} of {len(checks)} checks warn" if warnings else f"no warning in {len(checks)} checks")
    next_command("demo")
