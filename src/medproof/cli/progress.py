"""One progress display per command: a bar with ETA on a terminal, a line per stage elsewhere. All on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from medproof.cli.console import note

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

QUIET_SECONDS = 30.0
"""Without a terminal, a stage that takes longer than this prints where it stands this often."""


class Display:
    """Stages one after another, each with its count. Made by `display`."""

    def __init__(self, bars: Progress | None) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._stage = ""
        self._started = self._spoke = time.monotonic()
        self._last = (0, 0)

    def update(self, stage: str, done: int, total: int, remark: str = "") -> None:
        """Stage `stage` stands at `done` of `total`; a new name begins a new stage."""
        if stage != self._stage:
            self._close()
            self._stage, self._started = stage, time.monotonic()
            self._spoke = self._started
            if self._bars is not None:
                self._task = self._bars.add_task(stage, total=total)
        self._last = (done, total)
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=done, total=total, description=f"{stage} {remark}".strip())
        elif done < total and time.monotonic() - self._spoke > QUIET_SECONDS:
            self._spoke = time.monotonic()
            note(f"{stage}: {done}/{total}{_eta(done, total, self._spoke - self._started)} {remark}".rstrip())

    def _close(self) -> None:
        if self._stage and self._bars is None:
            done, total = self._last
            note(f"{self._stage}: {done}/{total} in {time.monotonic() - self._started:.1f} s")
        self._stage = ""


def _eta(done: int, total: int, seconds: float) -> str:
    return f", {seconds / done * (total - done):.0f} s left" if done else ""


@contextmanager
def display() -> Iterator[Display]:
    """Show progress for the length of the block."""
    if not sys.stderr.isatty():
        shown = Display(None)
        yield shown
        shown._close()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr)) as bars:
        yield Display(bars)
