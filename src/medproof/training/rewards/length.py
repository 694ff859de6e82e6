"""Is the reply as long as wanted?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def length(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    completion_ids: Sequence[Sequence[int]] = (),
    *,
    shortest: int = 0,
    longest: int = 256,
    margin: int = 32,
    **_: Any,
) -> list[float]:
    """1 from `shortest` to `longest` completion tokens (end token included), and outside linearly down to 0, which is
    reached `margin` tokens away. Raises ValueError unless 0 <= shortest <= longest and margin >= 1."""
    if not 0 <= shortest <= longest or margin < 1:
        raise ValueError(f"needs 0 <= shortest ({shortest}) <= longest ({longest}) and margin ({margin}) >= 1")
    return [_trapezoid(len(ids), shortest, longest, margin) for ids in completion_ids]


length.judges_empty = True  # type: ignore[attr-defined]


def _trapezoid(tokens: int, shortest: int, longest: int, margin: int) -> float:
    outside = max(shortest - tokens, tokens - longest, 0)
    return max(0.0, 1.0 - outside / margin)
