"""The answers of one reply to all steps of a chain: which part of it belongs to which step.

Such a response says so in its `info` (`chain_step`, `chain_steps`), and its text is the whole reply, the same for every
step.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from medproof.scoring.refusal import is_refusal

CHAIN_STEP, CHAIN_STEPS = "chain_step", "chain_steps"
STEPS: dict[str, str] = {
    CHAIN_STEP: "in a reply to all steps of a chain at once, the number of this item's question, from 1",
    CHAIN_STEPS: "how many questions that one call asked; its tokens and its price stand with the first of them",
    "earlier": "earlier steps of the chain whose answers were stated before the question",
    "earlier_wrong": "how many of the stated answers, the model's own, are not the right one",
}
"""By name."""
_THOUGHT = re.compile(r"<\s*think\s*>.*?(?:<\s*/\s*think\s*>|$)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<\s*answer\s*>.*?<\s*/\s*answer\s*>", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(
    r"^[ \t]*(?:<\s*answer\s*>)?[\s*(\[]*(?:question|step|q)?[ \t]*(\d{1,3})[ \t]*[.:)\]]+[*]*",
    re.IGNORECASE | re.MULTILINE,
)


def own_part(text: str, info: Mapping[str, float]) -> str:
    """What of a reply answers the item; all of it where the item was asked alone.

    - From a line that opens with the item's number ("2: ...", "(2) ...", "Question 2. ...") to the next such line; a
      number that occurs twice gives both parts, which then have to agree. Thoughts are left out.
    - A reply without numbers: its n-th answer tag, where there are exactly as many tags as questions.
    - A reply that refuses, without number or tag, refuses every step.
    - Else nothing.
    """
    steps = int(info.get(CHAIN_STEPS, 1))
    if steps == 1:
        return text
    said = _THOUGHT.sub("\n", text)
    marks = [mark for mark in _NUMBER.finditer(said) if 1 <= int(mark[1]) <= steps]
    step = int(info[CHAIN_STEP])
    if marks:
        ends = [*(mark.start() for mark in marks[1:]), len(said)]
        return "\n".join(said[mark.end() : end].strip() for mark, end in zip(marks, ends) if int(mark[1]) == step)
    tags = [tag.group() for tag in _TAG.finditer(said)]
    if len(tags) == steps:
        return tags[step - 1]
    return said if not tags and is_refusal(said) else ""
