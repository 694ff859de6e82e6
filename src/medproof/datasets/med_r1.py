"""Med-R1's question files: rows {image, problem, solution} with the options written into the problem.

`problem` is "stem A)option, B)option, ...", `solution` is "<answer> X </answer>". Options may hold commas, brackets
such as "(ECG)" and full stops. Image paths often name the class ("adenocarcinoma_left.lower.lobe/000139.png"), so they
are used to find the file and never shown to a model. Split, modality and question type come from file and folder names.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medproof.datasets import vqa_names as names
from medproof.datasets.paths import refuse_escape
from medproof.datasets.quarantine import Quarantined, explain
from medproof.records import LETTERS, Item

_BOUNDARIES = [re.compile(r"(?:^|(?<=\s))A\)"), *(re.compile(rf"(?<=,\s){letter}\)") for letter in LETTERS[1:])]
_BRACKETS = re.compile(r"[()]")
_ANSWER = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL | re.IGNORECASE)


def to_items(
    rows: Sequence[Any], path: Path, *, prefix: str | None = None, label: str | None = None
) -> tuple[list[Item], list[Quarantined]]:
    """Items and rows set aside; len(rows) is their sum.

    path: where the rows come from; split, modality and question type are read from its names.
    prefix: of item ids ("<prefix>:<row number>"), by default the file's name without its ending.
    Raises UserError for an image path that leaves the root.
    """
    origin = names.origin(path)
    prefix = prefix or file_stem(path)
    items: list[Item] = []
    quarantined: list[Quarantined] = []
    for index, row in enumerate(rows):
        try:
            items.append(_to_item(row, f"{prefix}:{index}", origin))
        except ValueError as error:
            quarantined.append(Quarantined(f"{label or path.name}[{index}]", explain(error)))
    return items, quarantined


def file_stem(path: Path) -> str:
    """The name without .json or .json.gz."""
    return path.name.removesuffix(".gz").removesuffix(".json")


def _to_item(row: Any, key: str, origin: names.Origin) -> Item:
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    image, problem, solution = (_text(row, field) for field in ("image", "problem", "solution"))
    refuse_escape(image)
    stem, options = split_problem(problem)
    answer = options[answer_index(solution, len(options))]
    return Item(
        id=key,
        image=image,
        case=image,
        modality=origin.modality or names.modality_of_image(image),
        question_type=origin.question_type or names.infer_question_type(stem, answer),
        question=stem,
        options=tuple(options),
        answer=answer,
        split=origin.split,
        source=names.source_of_image(image),
    )


def _text(row: dict[str, Any], field: str) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"field {field!r} is missing or no text")
    return value


def split_problem(problem: str) -> tuple[str, list[str]]:
    """Stem and options of "stem A)option, B)option, ...".

    Markers are looked for in order: "A)" after a space or at the start, then "B)", "C)", ... each after ", ". A marker
    inside open brackets, as in "(type A)", does not count; should an option hold a bracket that never closes, the
    reading without that rule finds more options and wins. Raises ValueError for fewer than two options or no stem.
    """
    markers = _markers(problem, brackets="(" in problem)
    if "(" in problem:
        loose = _markers(problem, brackets=False)
        markers = loose if len(loose) > len(markers) else markers
    if len(markers) < 2:
        raise ValueError("no options found: needs 'stem A)option, B)option'")
    stem = problem[: markers[0]].strip()
    if not stem:
        raise ValueError("no question before the options")
    ends = [*markers[1:], len(problem)]
    options = [problem[start + 2 : end].strip() for start, end in zip(markers, ends, strict=True)]
    options = [*(option.removesuffix(",").rstrip() for option in options[:-1]), options[-1]]
    return stem, options


def _markers(problem: str, *, brackets: bool) -> list[int]:
    """Positions of "A)", "B)", ... in order, each at an option boundary."""
    found: list[int] = []
    start = 0
    for boundary in _BOUNDARIES:
        places = (match.start() for match in boundary.finditer(problem, start))
        place = next((p for p in places if not (brackets and _open_brackets(problem[start:p]))), None)
        if place is None:
            break
        found.append(place)
        start = place + 2
    return found


def _open_brackets(text: str) -> int:
    """How many brackets `text` opens and does not close; a closing one without an opening one counts for nothing."""
    depth = 0
    for bracket in _BRACKETS.findall(text):
        depth = depth + 1 if bracket == "(" else max(depth - 1, 0)
    return depth


def answer_index(solution: str, n_options: int) -> int:
    """Index of the letter in "<answer> X </answer>". Raises ValueError where the tag is missing, repeated with another
    letter, or names no option."""
    letters = {text.strip().upper() for text in _ANSWER.findall(solution)}
    if not letters:
        raise ValueError("the solution has no <answer> tag")
    if len(letters) > 1:
        raise ValueError(f"the solution gives several answers: {sorted(letters)}")
    letter = letters.pop()
    if len(letter) != 1 or letter not in LETTERS[:n_options]:
        raise ValueError(f"the answer {letter!r} is none of the options A to {LETTERS[n_options - 1]}")
    return LETTERS.index(letter)
