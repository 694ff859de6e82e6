"""Groups with planted completions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medproof.models.prompts import messages
from medproof.records import Item, Mode
from medproof.training.groups import Completion, Group, Prompt

OPTIONS = ("benign lesion", "malignant lesion", "no lesion")


def make_item(name: str = "us-1", **changes: object) -> Item:
    fields: dict[str, object] = {
        "id": name,
        "image": f"images/{name}.png",
        "case": name,
        "modality": "Ultrasound",
        "question_type": "Disease Diagnosis",
        "question": "What does this scan show?",
        "options": OPTIONS,
        "answer": "malignant lesion",
    }
    return Item.model_validate(fields | changes)


def make_group(texts: Sequence[str], item: Item | None = None, mode: Mode = "direct") -> Group:
    """A group whose completions have one token per word."""
    item = item or make_item()
    image = np.zeros((28, 28, 3), dtype=np.uint8)
    prompt = Prompt(item, mode, messages(item, mode), image, ids=(1, 2), seed=0)
    return Group(prompt, tuple(Completion(tuple(range(len(text.split()))), text, truncated=False) for text in texts))
