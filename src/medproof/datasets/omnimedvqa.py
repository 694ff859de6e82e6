"""The original OmniMedVQA question files (Hu et al., CVPR 2024): options in fields, the answer as text.

Rows: dataset, question_id, question_type, question, gt_answer, image_path, option_A to option_D (C and D optional),
modality_type (one row of the release has `modality` instead). Image paths often name the class: never show them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medproof.datasets import vqa_names as names
from medproof.datasets.paths import refuse_escape
from medproof.datasets.quarantine import Quarantined, explain
from medproof.records import LETTERS, Item, Split


def looks_like(rows: Sequence[Any]) -> bool:
    """Whether any row has OmniMedVQA's answer field."""
    return any(isinstance(row, dict) and "gt_answer" in row for row in rows)


def to_items(rows: Sequence[Any], path: Path, *, label: str | None = None) -> tuple[list[Item], list[Quarantined]]:
    """Items and rows set aside; len(rows) is their sum. Raises UserError for an image path that leaves the root."""
    split = names.origin(path).split
    items: dict[str, Item] = {}
    quarantined: list[Quarantined] = []
    for index, row in enumerate(rows):
        try:
            item = _to_item(row, split)
            if item.id in items:
                raise ValueError(f"question_id {item.id!r} occurs twice")
            items[item.id] = item
        except ValueError as error:
            quarantined.append(Quarantined(f"{label or path.name}[{index}]", explain(error)))
    return list(items.values()), quarantined


def _to_item(row: Any, split: Split) -> Item:
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    image = _text(row, "image_path")
    refuse_escape(image)
    options = _options(row)
    modality = row.get("modality_type") or row.get("modality")
    if not isinstance(modality, str):
        raise ValueError("field 'modality_type' is missing or no text")
    return Item(
        id=_text(row, "question_id"),
        image=image,
        case=image,
        modality=names.modality(modality),
        question_type=names.question_type(_text(row, "question_type")),
        question=_text(row, "question"),
        options=tuple(options),
        answer=_match(_text(row, "gt_answer"), options),
        split=split,
        source=row["dataset"] if isinstance(row.get("dataset"), str) else names.source_of_image(image),
    )


def _options(row: dict[str, Any]) -> list[str]:
    present = [row.get(f"option_{letter}") for letter in LETTERS]
    options = [option.strip() for option in present if isinstance(option, str) and option.strip()]
    if [bool(isinstance(option, str) and option.strip()) for option in present[: len(options)]] != [True] * len(
        options
    ):
        raise ValueError("the options have a gap: option_A, option_B, ... must follow each other")
    return options


def _match(answer: str, options: Sequence[str]) -> str:
    """The option that is the answer: exactly, else by folded case if only one is."""
    if answer.strip() in options:
        return answer.strip()
    folded = [option for option in options if option.casefold() == answer.strip().casefold()]
    if len(folded) != 1:
        raise ValueError(f"the answer {answer!r} is none of the options {list(options)}")
    return folded[0]


def _text(row: dict[str, Any], field: str) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"field {field!r} is missing or no text")
    return value
