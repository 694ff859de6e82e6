"""Where the time of a step goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

PARTS = ("rollout", "reward", "logprobs", "backward", "optimizer")


class Stopwatch:
    """Wall seconds of the parts of one step; on a GPU it waits for the work that was queued."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._began = self._now()
        self._seconds = dict.fromkeys(PARTS, 0.0)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        began = self._now()
        yield
        self._seconds[part] += self._now() - began

    def row(self) -> dict[str, float]:
        """step_time and time/PART, in seconds."""
        return {"step_time": self._now() - self._began} | {f"time/{k}": v for k, v in self._seconds.items()}

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
