"""Are the stated steps right?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from medproof.models.prompts import STEPS
from medproof.records import Item
from medproof.training.rewards.columns import reply
from medproof.training.rewards.statements import judged, statements

_THOUGHT = re.compile(r"<think>(.*?)</think>", re.DOTALL)


def steps(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    completion_ids: Sequence[Any] | None = None,
    *,
    item: Sequence[Item],
    **_: Any,
) -> list[float | None]:
    """The share of the statements of the item's stepwise rationale (`training.steps`) that the reply makes and that
    are right, each judged by itself, so that one wrong step does not cost the others.

    Read inside `<think>`; a statement that is not made is wrong, one too many is not counted. None (does not apply)
    where the item has no chain: the recipe needs `data.rationale: chain`.
    """
    found: list[float | None] = []
    for completion, one in zip(completions, item, strict=True):
        truth = statements(one.facts.get(STEPS, ""))
        thought = _THOUGHT.search(reply(completion))
        right = judged(statements(thought[1] if thought else ""), truth)
        found.append(sum(right) / len(right) if right else None)
    return found
