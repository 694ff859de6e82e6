"""The command line. Importing it is cheap: every command imports what it needs when it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from medproof.cli.entry import invoke

__all__ = ["invoke", "main"]


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave: 0 done, 1 failed, 2 bad usage or input, 130 interrupted."""
    sys.exit(invoke(sys.argv[1:] if argv is None else argv))
