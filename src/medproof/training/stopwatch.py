"""Where the time of a step goes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

PARTS = ("rollout", "reward", "logprobs", "backward", "optimizer")


class Stopwatch:
    """Wall seconds of the parts of one step; on a GPU it waits for the work that was queued."""

    def __init__(self, device: torch.device, parts: Sequence[str] = PARTS) -> None:
        self._device = device
        self._began = self._now()
        self._seconds = dict.fromkeys(parts, 0.0)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        began = self._now()
        yield
        self._seconds[part] = self._seconds.get(part, 0.0) + self._now() - began

    def row(self) -> dict[str, float]:
        """step_time and time/PART in seconds; where images were attacked also time/attack_share, of the step."""
        whole = self._now() - self._began
        row = {"step_time": whole} | {f"time/{k}": v for k, v in self._seconds.items()}
        return row | ({"time/attack_share": row["time/attack"] / whole} if "time/attack" in row else {})

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
