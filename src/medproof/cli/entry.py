"""From arguments to an exit code; every error becomes one line on stderr that says what to do."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence

import typer

from medproof.cli.app import app
from medproof.cli.console import complain
from medproof.errors import UserError

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
DEBUG_VARIABLE = "MEDPROOF_DEBUG"


def invoke(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code and never raises for a failure of the command."""
    command = typer.main.get_command(app)
    try:
        code = command.main(args=list(argv), prog_name="medproof", standalone_mode=False)
    except UserError as error:
        return complain(str(error), BAD_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except typer.Exit as leaving:
        code = leaving.exit_code
    except Exception as error:
        return _failure(error, argv)
    if code == INTERRUPTED:
        return complain("stopped; what is stored is kept: run the same command again to resume", INTERRUPTED)
    return code if isinstance(code, int) else OK


def _failure(error: Exception, argv: Sequence[str]) -> int:
    # Usage errors of the argument parser carry their own text and code; their class moved between typer versions.
    text, code = getattr(error, "format_message", None), getattr(error, "exit_code", None)
    if callable(text) and isinstance(code, int):
        name = argv[0] if argv and not argv[0].startswith("-") else ""
        return complain(f"{text()} (see: {' '.join(filter(None, ('medproof', name, '--help')))})", BAD_INPUT)
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    name = type(error).__name__
    return complain(
        f"{name}: {error}; what is stored is kept; for the traceback set {DEBUG_VARIABLE}=1 and run again", FAILED
    )
