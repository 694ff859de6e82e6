"""Planted models: replies written by hand, so that every metric can be worked out on paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medproof.records import Item, Response

OPTIONS = ("cyst", "mass", "nodule", "scar")
GOLD = "ABCDABCD"


@dataclass(frozen=True)
class Run:
    """The little that scoring needs of a run."""

    items: tuple[Item, ...]
    responses: tuple[Response, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)
    sanity: Mapping[str, Any] | None = None


def make_item(number: int, gold: str = "A", options: Sequence[str] = OPTIONS, **changes: Any) -> Item:
    """Item `i0`, `i1`, ...: even numbers are CT, odd ones MRI; every item has an image of its own."""
    values: dict[str, Any] = {
        "id": f"i{number}",
        "image": f"images/{number}.png",
        "case": f"c{number}",
        "modality": "CT" if number % 2 == 0 else "MRI",
        "question_type": "Disease Diagnosis",
        "question": "What is seen?",
        "options": tuple(options),
        "answer": options["ABCDEFGHIJ".index(gold)],
        "source": "here" if number < 4 else "there",
    }
    return Item(**{**values, **changes})


def make_response(item_id: str, condition: str, letter: str, **changes: Any) -> Response:
    """A reply with a tagged letter; "-" is an unparsed reply, "?" a refusal, "!" an error."""
    text = {"-": "I see.", "?": "I cannot determine this.", "!": ""}.get(letter, f"<answer>{letter}</answer>")
    values: dict[str, Any] = {
        "key": f"{condition}/{item_id}",
        "item_id": item_id,
        "condition": condition,
        "mode": "direct",
        "text": text,
        "image_sha256": "0" * 64,
        "error": "ConnectionError: gone" if letter == "!" else None,
    }
    return Response(**{**values, **changes})


ITEMS = tuple(make_item(number, gold) for number, gold in enumerate(GOLD))


def make_run(answers: Mapping[str, str], items: Sequence[Item] = ITEMS, **meta: Any) -> Run:
    """`answers`: condition -> one character per item (see `make_response`); a blank is no response at all."""
    responses = [
        make_response(item.id, condition, letter)
        for condition, letters in answers.items()
        for item, letter in zip(items, letters, strict=True)
        if letter != " "
    ]
    return Run(tuple(items), tuple(responses), {"conditions": list(answers), "seed": 0, **meta})


READER = {
    "clean": GOLD,
    "blank": "AAAAAAAA",
    "shuffled": "BCDABCDA",
    "random_sign(8/255)": GOLD,
    "pgd(linf,4/255,20)": "BBCDABDD",
    "pgd(linf,8/255,20)": "BCDA--CD",
}
BLIND = dict.fromkeys(READER, "AAAAAAAA")
