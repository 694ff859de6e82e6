"""Does the annotation bear out what the rationale says?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medproof.records import Item, Mode
from medproof.scoring.rationale import audit, thought
from medproof.training.rewards.columns import reply


def supported(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    completion_ids: Sequence[Any] | None = None,
    *,
    item: Sequence[Item],
    mode: Sequence[Mode],
    least: int = 3,
    **_: Any,
) -> list[float | None]:
    """In [0, 1]: of the claims of the rationale that the annotation decides, the share that it supports, times the
    breadth of what it supports: its kinds, over `least` or over the kinds that the item's facts hold, if fewer.

    So silence earns 0, and one safe sentence does not earn all. What is said twice counts once, what is said with doubt
    not at all, and right denials count as one claim together, or a list of absent diseases would pay. None (does not
    apply) in mode `direct`, which asks for no rationale. Raises ValueError for least < 1.
    """
    if least < 1:
        raise ValueError(f"least is {least}: give 1 or more")
    rows = zip(completions, item, mode, strict=True)
    return [None if how == "direct" else _share(reply(completion), one, least) for completion, one, how in rows]


def _share(text: str, item: Item, least: int) -> float:
    told = audit(item, thought(text))
    right = [claim for claim, held in told.claims.items() if held and not claim.hedged]
    if not right:
        return 0.0
    asserted = sum(claim.positive for claim in right)
    paid = asserted + (asserted < len(right))
    breadth = len({claim.kind for claim in right}) / min(least, len(told.stated))
    return paid / (paid + told.contradicted) * min(1.0, breadth)
