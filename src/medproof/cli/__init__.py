"""The command line. Importing it is cheap: every command imports what it needs when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from medproof.cli.entry import invoke

__all__ = ["invoke", "main"]


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave: 0 done, 1 failed, 2 bad usage or input, 130 interrupted."""
    code = invoke(sys.argv[1:] if argv is None else argv)
    if os.environ.get("WORLD_SIZE", "1") not in ("", "0", "1"):
        # Threads of the process group outlive `destroy_process_group` where a cache of torch holds the group, and may
        # abort the interpreter while it is taken down: all is written, so leave without that.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
