"""Remarks in training prompts: the words of the condition `hint`, nothing learnt from what they suggest."""

import numpy as np
import pytest

from medproof.conditions.hints import SPEAKERS
from medproof.models.nano import GRID
from medproof.models.prompts import INSTRUCTIONS, messages
from medproof.records import Item
from medproof.training.examples import Example, ExampleStream
from medproof.training.recipe import Recipe

OPTIONS = ("cyst", "abscess", "haematoma", "tumour")
ITEMS = [
    Item(
        id=f"i{number}",
        image="x.png",
        case=f"i{number}",
        modality="CT",
        question_type="Disease Diagnosis",
        question="What is it?",
        options=OPTIONS,
        answer=OPTIONS[number % 4],
    )
    for number in range(40)
]
PIXELS = np.zeros((56, 56, 3), dtype=np.uint8)


def examples(count: int = 400, **hints: object) -> list[Example]:
    recipe = Recipe.model_validate({"data": {"hints": hints}})
    stream = ExampleStream(lambda _: ITEMS, lambda _: PIXELS, GRID, recipe)
    return [stream.example(index) for index in range(count)]


def test_without_a_share_nobody_speaks_and_with_one_all_else_stays() -> None:
    silent, spoken = examples(80), examples(80, share=1.0)
    assert {e.remark for e in silent} == {""}
    assert all(e.remark for e in spoken)
    assert [(e.item.id, e.mode) for e in silent] == [(e.item.id, e.mode) for e in spoken]


def test_shares_are_kept_and_the_option_named_says_nothing() -> None:
    heard = [e for e in examples(1200, share=0.5, neutral=0.25) if e.remark]
    assert 540 < len(heard) < 660
    named = [(e, option) for e in heard for option in OPTIONS if option in e.remark]
    assert 0.68 < len(named) / len(heard) < 0.82
    assert 0.19 < sum(option == e.item.answer for e, option in named) / len(named) < 0.31  # 1/4 by chance


def test_only_the_sources_asked_for_speak_in_new_words_each_time() -> None:
    remarks = [e.remark for e in examples(share=1.0, sources=["peer"])]
    assert all(remark.startswith(SPEAKERS["peer"]) for remark in remarks)
    assert len(set(remarks)) > 100


def test_the_prompt_is_that_of_the_condition() -> None:
    (asked,) = messages(ITEMS[0], "think", remark="A colleague said that this is cyst.")
    assert asked.text.endswith(f"D) tumour\nA colleague said that this is cyst.\n{INSTRUCTIONS['think']}")
    assert messages(ITEMS[0], "think", remark="") == messages(ITEMS[0], "think")


@pytest.mark.parametrize("sources", [[], ["oracle"]])
def test_unknown_sources_are_refused(sources: list[str]) -> None:
    with pytest.raises(ValueError, match="sources of hints are one or more of authority"):
        Recipe.model_validate({"data": {"hints": {"share": 0.5, "sources": sources}}})
