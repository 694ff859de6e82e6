"""The commands under one name."""

from __future__ import annotations

from typing import Annotated

import typer

from medproof import __version__
from medproof.cli import audit, bench, certify, compare, demo, doctor, export, report, run, serve, train

app = typer.Typer(
    name="medproof",
    help="Train, attack, certify and benchmark medical vision-language models, and show whether they look.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"medproof {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Train, attack, certify and benchmark medical vision-language models, and show whether they look."""


app.command("demo")(demo.demo)
app.command("audit")(audit.audit)
app.command("train")(train.train)
app.command("run")(run.run)
app.command("certify")(certify.certify)
app.command("report")(report.report)
app.command("compare")(compare.compare)
app.command("export")(export.export)
app.command("serve")(serve.serve)
app.command("doctor")(doctor.doctor)
app.add_typer(bench.app, name="bench")
