"""The gate finds planted leaks, and nothing where there is nothing."""

import pytest

from medproof.bench import gate
from medproof.records import Item


def item(number: int, question: str, options: tuple[str, ...], answer: str, split: str = "test") -> Item:
    return Item(
        id=f"c{number}/t",
        image="a.png",
        case=f"c{number}",
        patient=f"p{number}",
        modality="CT",
        question_type="Disease Diagnosis",
        stage="S4",
        question=question,
        options=options,
        answer=answer,
        split=split,
    )


def coin(number: int) -> str:
    return ("left", "right")[number % 2]


def test_balanced_pairs_give_nothing_away() -> None:
    items = [item(n, "Which side?", ("left", "right"), coin(n), ("train", "test")[n // 20 % 2]) for n in range(80)]
    found = gate.measure(items)
    assert found.excess <= 0
    assert found.text_prior == found.test_chance == 0.5
    assert (found.n, found.test_n) == (80, 40)


def test_the_question_gives_the_answer_away() -> None:
    """Option counts see nothing; word pairs do."""
    items = [item(n, f"Which side of the {('thumb', 'toe')[n % 2]}?", ("left", "right"), coin(n)) for n in range(40)]
    found = gate.measure(items)
    assert found.ngram == 1
    assert found.option_count is not None
    assert found.option_count <= 0.5
    assert found.excess == pytest.approx(0.5)


def test_an_option_that_is_always_right() -> None:
    others = ["cyst", "scar", "node", "burn"]
    items = [item(n, "What is it?", tuple(sorted((others[n % 4], "mass"))), "mass") for n in range(40)]
    found = gate.measure(items)
    assert found.option_count == found.ngram == 1


def test_the_letter_gives_the_answer_away() -> None:
    """Every text is right as often as wrong, but the right one always comes first."""
    names = ["cyst", "scar", "node", "burn"]
    items = []
    for n in range(48):
        right, wrong = names[n % 4], names[(n + 1 + n // 4 % 3) % 4]
        items.append(item(n, "What is it?", (right, wrong), right))
    assert gate.measure(items).excess == pytest.approx(0.5)


def test_one_patient_cannot_be_cross_validated() -> None:
    items = [item(n, "Which side?", ("left", "right"), coin(n)).model_copy(update={"patient": "p"}) for n in range(4)]
    assert gate.measure(items).ngram is None
