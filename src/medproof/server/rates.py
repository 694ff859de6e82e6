"""Token buckets, one per client."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Rates:
    """`per_minute` requests of each client a minute; as many may come at once. Not for several threads."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, client: str) -> int:
        """0, and one request is spent; or in how many seconds the next one will be allowed."""
        now = self._clock()
        left, seen = self._left.get(client, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - seen) * self._per_minute / 60)
        allowed = left >= 1
        self._left[client] = (left - 1 if allowed else left, now)
        return 0 if allowed else math.ceil((1 - left) * 60 / self._per_minute)
