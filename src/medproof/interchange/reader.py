"""Answers of a person as a model: what was ticked on a sheet becomes a run like any model's."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from medproof.datasets import Dataset
from medproof.errors import UserError
from medproof.interchange.sheet import CANNOT_TELL, COLUMNS, row_id, sheet_id
from medproof.models.protocol import Reply
from medproof.records import Decoding, Item, Mode, View

UNANSWERED = "left unanswered on the sheet"


class Reader:
    """Level 1 of the model protocol. answers: by item id a letter or CANNOT_TELL; others were left open."""

    grid = None
    processor_hash = hashlib.sha256(b"a reading sheet").hexdigest()

    def __init__(self, name: str, answers: Mapping[str, str]) -> None:
        self.name = name
        self._answers = dict(answers)
        self.weights_hash = hashlib.sha256(json.dumps([name, self._answers], sort_keys=True).encode()).hexdigest()

    def decoding(self, mode: Mode) -> Decoding:
        """Nothing is decoded."""
        return Decoding(max_new_tokens=1)

    def cost(self, view: View) -> int:
        """One: the answer is there."""
        return 1

    def generate(self, views: Sequence[View], decoding: Decoding, seed: int = 0) -> list[Reply]:
        """One reply per view, in order. Raises UserError where a question was left open."""
        return [self._reply(view.item.id) for view in views]

    def _reply(self, item_id: str) -> Reply:
        if item_id not in self._answers:
            raise UserError(UNANSWERED)
        said = self._answers[item_id]
        words = "Cannot be determined" if said == CANNOT_TELL else said
        return Reply(f"<answer>{words}</answer>", 0, 0, truncated=False)


def read_answers(path: Path, data: Dataset) -> tuple[Dataset, dict[str, str]]:
    """The items of the sheet, in the order of `data`, and what was ticked, by item id.

    The file: rows of COLUMNS, separated by commas or semicolons. Raises UserError where it cannot be read, where rows
    are wrong (naming the first, and why), and where they are not those of one whole sheet of `data`.
    """
    items = {row_id(item): item for item in data.items}
    asked: dict[str, Item] = {}
    answers: dict[str, str] = {}
    sheets: set[str] = set()
    bad: list[str] = []
    for number, row in _rows(path):
        problem = _problem(row, items, asked)
        if problem is not None:
            bad.append(f"{path.name}:{number}: {problem}")
            continue
        item = items[row["item"]]
        asked[row["item"]] = item
        sheets.add(row["sheet"])
        if row["answer"]:
            answers[item.id] = row["answer"]
    if bad:
        more = f" (and {len(bad) - 1} more bad rows)" if len(bad) > 1 else ""
        raise UserError(f"{bad[0]}{more}: correct the file, or give the benchmark that the sheet was made of as --data")
    wanted = {item.id for item in asked.values()}
    sheet = replace(data, items=tuple(item for item in data.items if item.id in wanted))
    if sheets != {sheet_id(sheet)}:
        raise UserError(f"{path.name} holds not all rows of one sheet: give the file as the sheet wrote it")
    return sheet, answers


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and rows, blanks at the ends of cells removed."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} ({type(error).__name__}): give the CSV that a sheet wrote") from error
    first = text.partition("\n")[0]
    lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=";" if ";" in first else ",")
    names = tuple(lines.fieldnames or ())
    if names != COLUMNS:
        raise UserError(f"{path.name} has the columns {', '.join(names) or 'of nothing'}: needs {', '.join(COLUMNS)}")
    rows = [
        (lines.line_num, {name: (row[name] or "").strip() for name in COLUMNS} if None not in row else {})
        for row in lines
    ]
    if not rows:
        raise UserError(f"{path.name} holds no answers: give the CSV that a sheet wrote")
    return rows


def _problem(row: Mapping[str, str], items: Mapping[str, Item], seen: Mapping[str, Item]) -> str | None:
    """Why a row cannot be taken."""
    if not row:
        return f"more cells than {len(COLUMNS)}"
    item, answer = items.get(row["item"]), row["answer"]
    if item is None:
        return f"item {row['item']!r} is none of this benchmark's"
    if row["item"] in seen:
        return f"item {row['item']!r} occurs twice"
    if answer and answer != CANNOT_TELL and (len(answer) != 1 or answer not in item.letters):
        return f"answer {answer!r} is none of {', '.join(item.letters)} and not {CANNOT_TELL!r}"
    return None
