"""Is the answer right?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medproof.records import Mode
from medproof.scoring.parse import parse
from medproof.training.rewards.columns import reply


def accuracy(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    completion_ids: Sequence[Any] | None = None,
    *,
    options: Sequence[Sequence[str]],
    answer: Sequence[str],
    mode: Sequence[Mode],
    **_: Any,
) -> list[float]:
    """1 where the scorer calls the reply `correct`, else 0: it reads it by the same parser, `scoring.parse`."""
    return [
        float(_chosen(reply(completion), texts, how) == right)
        for completion, texts, right, how in zip(completions, options, answer, mode, strict=True)
    ]


def _chosen(text: str, options: Sequence[str], mode: Mode) -> str | None:
    choice = parse(text, options, mode).choice
    return None if choice is None else options[choice]
