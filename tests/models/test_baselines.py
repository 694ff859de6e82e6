"""Baselines without pixels: their rules on counted cases, and what they refuse."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from medproof import models
from medproof.conditions import Context, check_model, prepare, resolve
from medproof.datasets import Dataset
from medproof.errors import UserError
from medproof.models.baselines import Majority, OptionCount, load_baseline
from medproof.models.protocol import Model
from medproof.records import LETTERS, Item, View
from medproof.scoring.steps import CHAIN_STEP, CHAIN_STEPS
from medproof.scoring.text_prior import TextPrior


def item(number: int, answer: str, options: tuple[str, ...], **changes: object) -> Item:
    values: dict[str, object] = {
        "id": f"c{number}/kind",
        "image": "i.png",
        "case": f"c{number}",
        "modality": "CT",
        "question_type": "Disease Diagnosis",
        "question": "What is it?",
        "options": options,
        "answer": answer,
        "split": "train",
    }
    return Item.model_validate(values | changes)


TRAIN = [item(n, "Cyst.", ("cyst.", "stone", "Cyst.")[1:]) for n in range(3)] + [
    *(item(n, "stone", ("cyst", "stone")) for n in range(3, 5)),
    *(item(n, "stone", ("stone", "mass"), question="Which one?") for n in range(5, 9)),
]


def answers(model: Model, asked: Item, info: dict[str, float] | None = None, seeds: int = 1) -> list[str]:
    view = View(asked, "clean", "direct", (), np.zeros((4, 4, 3), np.uint8), info or {})
    return [model.generate([view], model.decoding("direct"), seed)[0].text for seed in range(seeds)]


def test_majority_counts_right_answers_of_the_same_question() -> None:
    """To "What is it?" cyst was right three times, stone twice; to "Which one?" stone was right four times."""
    model = Majority(TRAIN)
    assert answers(model, item(90, "stone", ("stone", "cyst"))) == ["<answer>B</answer>"]
    assert answers(model, item(91, "mass", ("mass", "stone"), question="Which one?")) == ["<answer>B</answer>"]


def test_majority_of_a_benchmark_goes_by_task() -> None:
    train = [item(n, "left", ("left", "right"), stage="S2", question=f"Side, wording {n}?") for n in range(3)]
    other = item(9, "right", ("left", "right"), stage="S2", id="c9/turned", question="Side, wording 0?")
    model = Majority([*train, other, other.model_copy(update={"id": "c8/turned"})])
    asked = item(50, "right", ("right", "left"), stage="S2", question="Side, wording 7?")
    assert answers(model, asked) == ["<answer>B</answer>"]
    assert answers(model, asked.model_copy(update={"id": "c50/turned"})) == ["<answer>A</answer>"]


def test_majority_draws_where_it_knows_nothing() -> None:
    """Chance, 1 / K: each option of a new question about as often, the same seed the same."""
    model, asked = Majority(TRAIN), item(92, "b", ("a", "b", "c"), question="New?")
    counts = Counter(answers(model, asked, seeds=300))
    assert sorted(counts) == [f"<answer>{letter}</answer>" for letter in "ABC"]
    assert min(counts.values()) > 70
    assert answers(model, asked) == answers(model, asked)


def test_option_count_is_the_text_prior() -> None:
    prior, model = TextPrior.fit(TRAIN), OptionCount(TRAIN)
    for options in (("stone", "cyst"), ("cyst", "stone", "mass"), ("mass", "new")):
        asked = item(93, options[0], options)
        assert answers(model, asked) == [f"<answer>{LETTERS[options.index(prior.predict(asked))]}</answer>"]


def test_letters_follow_the_options_as_shown() -> None:
    """A view's item is the item as asked: its options may be turned round."""
    item_ = item(94, "stone", ("stone", "cyst"))
    context = Context(Dataset("d", Path(), (item_,)), 0, "direct", Majority(TRAIN), lambda _: np.zeros((4, 4, 3), "u1"))
    (turned,) = prepare(resolve("rotated(1)"), [item_], context)
    assert turned is not None
    for model in (Majority(TRAIN), OptionCount(TRAIN)):
        told = [reply.text for reply in model.generate([turned], model.decoding("direct"))]
        assert {*answers(model, item_), *told} == {"<answer>A</answer>", "<answer>B</answer>"}


def test_several_questions_at_once_are_refused() -> None:
    with pytest.raises(UserError, match=r"model majority answers one question at a time: leave out steps\(joint\)"):
        answers(Majority(TRAIN), TRAIN[0], {CHAIN_STEP: 1.0, CHAIN_STEPS: 3.0})


def test_the_hash_tells_tables_apart() -> None:
    hashes = [m.weights_hash for m in (Majority(TRAIN), OptionCount(TRAIN), Majority(TRAIN[1:]), Majority(TRAIN))]
    assert len(set(hashes)) == 3
    assert hashes[0] == hashes[3]


def test_level_one_of_the_protocol() -> None:
    for name in ("majority", "option_count"):
        model = models.load(name, train=TRAIN)
        assert isinstance(model, Model)
        with pytest.raises(UserError, match=re.escape(f"needs gradients, and model {name} gives none")):
            check_model(resolve("pgd(linf,8/255,20)"), model)
        with pytest.raises(UserError, match="reads option scores"):
            check_model(resolve("square(linf,8/255,20)"), model)
        check_model(resolve("noimage"), model)


def test_without_training_items_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="model majority is fitted on the training split, and the data have none"):
        load_baseline("majority", [one.model_copy(update={"split": "test"}) for one in TRAIN])
    with pytest.raises(UserError, match="model option_count is fitted on the training split"):
        models.load("option_count")
