"""Does the answer rest on the image?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medproof.records import Mode
from medproof.scoring.parse import parse
from medproof.training.rewards.columns import reply


def looks(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    completion_ids: Sequence[Any] | None = None,
    *,
    options: Sequence[Sequence[str]],
    mode: Sequence[Mode],
    option_probs: Sequence[Sequence[float]],
    option_probs_blank: Sequence[Sequence[float]],
    **_: Any,
) -> list[float]:
    """In [0, 1]: what the chosen option loses when the image is blanked.

    With p, q the probabilities of the options with the image and without it, and c the option that the reply chose:
    1 where c is the likeliest option under p and another one is likelier under q (the answer changes); else the share
    of its probability that is lost, max(0, 1 - q[c] / p[c]). 0 where the reply chose no option. A model for which
    p = q gets 0 whatever it writes. Says nothing about right or wrong: weigh it beside `accuracy`.
    """
    rows = zip(completions, options, mode, option_probs, option_probs_blank, strict=True)
    return [_lost(reply(completion), texts, how, p, q) for completion, texts, how, p, q in rows]


looks.needs = frozenset({"option_probs", "option_probs_blank"})  # type: ignore[attr-defined]


def _lost(text: str, options: Sequence[str], mode: Mode, p: Sequence[float], q: Sequence[float]) -> float:
    parsed = parse(text, options, mode)
    if parsed.choice is None or parsed.status != "chosen" or p[parsed.choice] <= 0:
        return 0.0
    c = parsed.choice
    if p[c] == max(p) and q[c] < max(q):
        return 1.0
    return max(0.0, 1.0 - q[c] / p[c])
