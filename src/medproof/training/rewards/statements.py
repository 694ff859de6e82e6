"""The grammar of a stepwise rationale, read back statement by statement, so that each can be judged by itself.

    rationale  = [S *("; " S) ". "] conclusion
    S          = task ": " answer          task: the slug with blanks, as in "lesion quarter"
               | "evidence: " box          the one box that the step before rests on, where no other S gives it
    box        = l "," t "," r "," b       hundredths of width and height
    conclusion = "So the answer is " answer "."

"modality: Ultrasound; region: breast; lesion quarter: upper left; lesion box: 11,22,25,32. So the answer is oval."
"""

from __future__ import annotations

import re

from medproof.training.rewards.points import BoxCoordinates, iou

EVIDENCE = "evidence"
CONCLUSION = "So the answer is "
SAME_BOX = 0.5
"""Intersection over union from which on a stated box counts as the right one."""
_STATEMENT = re.compile(r"(?:^|; )([\w -]+): (.*?)(?=; [\w -]+: |\.?$)")
_BOX = re.compile(r"(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})")
_OPTION = re.compile(r"\[(\d{1,4}), (\d{1,4}), (\d{1,4}), (\d{1,4})\]")

Statements = list[tuple[str, str]]
"""(task in words, answer), in the order stated; the conclusion, with no task, is the last."""


def box_text(box: BoxCoordinates) -> str:
    """A box in thousandths as it is stated."""
    return ",".join(str(round(edge / 10)) for edge in box)


def option_box(text: str) -> BoxCoordinates | None:
    """The box, in thousandths, that an option "[left, top, right, bottom]" of the benchmark names; None of others."""
    return _edges(_OPTION.fullmatch(text), 1)


def statements(text: str) -> Statements:
    """The statements of a rationale; of any other text those parts that have the form of one."""
    before, concluded, conclusion = " ".join(text.split()).partition(CONCLUSION)
    found = [(task, answer.strip()) for task, answer in _STATEMENT.findall(before.strip())]
    return [*found, ("", conclusion.removesuffix("."))] if concluded else found


def judged(said: Statements, truth: Statements) -> list[bool]:
    """Per statement of `truth` whether `said` holds it: its k-th of a task against the k-th of the same task.

    A box is right from an overlap of SAME_BOX on, everything else where it reads the same but for case.
    """
    left: dict[str, list[str]] = {}
    for task, answer in said:
        left.setdefault(task.casefold(), []).append(answer)
    right = []
    for task, answer in truth:
        own = left.get(task.casefold())
        right.append(_agree(own.pop(0), answer) if own else False)
    return right


def _agree(said: str, truth: str) -> bool:
    expected = _box(truth)
    if expected is None:
        return said.casefold() == truth.casefold()
    found = _box(said)
    return found is not None and iou(found, expected) >= SAME_BOX


def _box(text: str) -> BoxCoordinates | None:
    return _edges(_BOX.fullmatch(text), 10) or option_box(text)


def _edges(match: re.Match[str] | None, scale: int) -> BoxCoordinates | None:
    if match is None:
        return None
    x0, y0, x1, y1 = (float(edge) * scale for edge in match.groups())
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
