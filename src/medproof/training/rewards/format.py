"""Does the reply have the form that was asked for?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from medproof.records import Mode
from medproof.training.rewards.columns import reply

_THINK = ("<think>", "</think>")
_ANSWER = ("<answer>", "</answer>")
TAGS: dict[Mode, tuple[str, ...]] = {"direct": _ANSWER, "think": _THINK + _ANSWER, "think_after": _ANSWER + _THINK}

# As loose as the parser's tags: whatever it would read as a tag counts as one here, and must be the exact one.
_TAG = re.compile(r"<\s*(?:/\s*)?(?:think|answer)\s*>", re.IGNORECASE)


def format(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    completion_ids: Sequence[Any] | None = None,
    *,
    mode: Sequence[Mode],
    **_: Any,
) -> list[float]:
    """1 where the reply is exactly the tags of its mode, one pair each and in order, with text inside every pair and
    nothing but white space elsewhere; else 0. What the text says does not matter."""
    return [float(_well_formed(reply(completion), how)) for completion, how in zip(completions, mode, strict=True)]


format.judges_empty = True  # type: ignore[attr-defined]


def _well_formed(text: str, mode: Mode) -> bool:
    if tuple(_TAG.findall(text)) != TAGS[mode]:
        return False
    pieces = _TAG.split(text)  # outside, inside, outside, inside, outside
    return all(bool(piece.strip()) == (place % 2 == 1) for place, piece in enumerate(pieces))
