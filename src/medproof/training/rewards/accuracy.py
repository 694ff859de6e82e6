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
    empty: Sequence[bool],
    **_: Any,
) -> list[float]:
    """1 where the scorer calls the reply `correct`, else 0: it reads it by the same parser, `scoring.parse`.

    Where the image shows nothing, 1 for a refusal.
    """
    return [
        float(_right(reply(completion), texts, None if nothing else right, how))
        for completion, texts, right, how, nothing in zip(completions, options, answer, mode, empty, strict=True)
    ]


accuracy.judges_empty = True  # type: ignore[attr-defined]


def _right(text: str, options: Sequence[str], answer: str | None, mode: Mode) -> bool:
    """answer: None for a refusal."""
    parsed = parse(text, options, mode)
    if answer is None:
        return parsed.status == "abstain"
    return parsed.choice is not None and options[parsed.choice] == answer
