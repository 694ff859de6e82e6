"""Planted runs of the benchmark: replies by hand, with what the conditions suggested."""

from collections.abc import Mapping, Sequence
from typing import Any

from planted import ITEMS, Run, make_response, make_run

from medproof.records import Box, Evidence, Item
from medproof.scoring.boxes import XYXY

SUGGESTED = "BCDABCDA"
"""The wrong option that hints and cues name, per item of `planted.ITEMS`: the letter after the right one."""
LETTERS = "ABCDEFGHIJ"


def suggesting(answers: Mapping[str, str], names: Mapping[str, str], items: Sequence[Item] = ITEMS, **meta: Any) -> Run:
    """`planted.make_run` where the conditions in `names` suggest one letter per item; a blank suggests none."""
    run = make_run(answers, items, **meta)
    place = {item.id: number for number, item in enumerate(items)}
    replies = []
    for reply in run.responses:
        letter = names.get(reply.condition, " " * len(items))[place[reply.item_id]]
        info = {} if letter == " " else {"suggested": float(LETTERS.index(letter))}
        replies.append(reply.model_copy(update={"info": info}))
    return Run(run.items, tuple(replies), run.meta)


def box_item(number: int, gold: str, options: Sequence[str], boxes: Sequence[XYXY], **changes: Any) -> Item:
    """An item of 200 x 100 pixels that asks for a box; `boxes` in pixels."""
    values: dict[str, Any] = {
        "id": f"c{number}/lesion_box",
        "image": f"images/{number}.png",
        "case": f"c{number}",
        "modality": "CT",
        "question_type": "Other Biological Attributes",
        "question": "Which box?",
        "stage": "S2",
        "options": tuple(options),
        "answer": options["ABCD".index(gold)],
        "width": 200,
        "height": 100,
        "evidence": Evidence(boxes=tuple(Box(label="mass", xyxy=xyxy) for xyxy in boxes)),
    }
    return Item(**{**values, **changes})


def said(run: Run, item_id: str, condition: str, text: str) -> Run:
    """The run with one reply put in other words."""
    replies = [
        make_response(r.item_id, r.condition, "A", text=text) if (r.item_id, r.condition) == (item_id, condition) else r
        for r in run.responses
    ]
    return Run(run.items, tuple(replies), run.meta)
