"""What commands print: results and the next command on stdout, notes and progress on stderr."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def say(text: str) -> None:
    """One line of result on stdout; never wrapped or coloured, so that it can be copied and parsed."""
    print(text)


def note(text: str) -> None:
    """One line on stderr that is no result."""
    print(text, file=sys.stderr)


def complain(text: str, code: int) -> int:
    """Print `text` as one line on stderr and pass the exit code on."""
    print(f"medproof: {' '.join(text.split())}", file=sys.stderr)
    return code


def next_command(*words: str | object) -> None:
    """Name the command that comes next."""
    say("next: " + shlex.join(["medproof", *map(str, words)]))


def new_table(title: str, columns: Sequence[str], right: Sequence[str] = ()) -> Table:
    """A rich table; the columns named in `right` are aligned to the right."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def show(table: Table) -> None:
    """Print a table on stdout; at least 100 columns wide where the output is no terminal."""
    from rich.console import Console

    # Cells hold data: "[dicom]" is text there, not markup, and ":x:" no picture.
    console = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = max(100, console.width)
    console.print(table)


def percent(value: float | None, digits: int = 1) -> str:
    """A share as per cent, a dash for none."""
    return "–" if value is None else f"{100 * value:.{digits}f}"


def interval(bounds: Sequence[float] | None, digits: int = 1) -> str:
    """An interval of shares as `lo-hi` in per cent."""
    return "" if bounds is None else f"{100 * bounds[0]:.{digits}f}–{100 * bounds[1]:.{digits}f}"
