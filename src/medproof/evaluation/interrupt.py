"""Ctrl-C and SIGTERM stop the loop between, never inside, its short writes."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_Handler = Callable[[int, FrameType | None], object] | int | None


class Interrupts:
    """Turns the signals into KeyboardInterrupt in the main thread; in other threads it changes nothing.

    A signal that was ignored when the block began (as under nohup) stays ignored.
    """

    def __init__(self) -> None:
        self._held = 0
        self._waiting = False
        self._before: dict[int, _Handler] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):
                    self._before[number] = before
                    signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """A signal that arrives inside the block is raised at its end."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self._waiting and not self._held:
            self._waiting = False
            raise KeyboardInterrupt

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._held:
            self._waiting = True
        else:
            raise KeyboardInterrupt
