"""Which part of one reply to several questions belongs to which of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medproof.scoring.steps import own_part


def parts(text, steps=3):
    return [own_part(text, {"chain_step": float(step), "chain_steps": float(steps)}) for step in range(1, steps + 1)]


@pytest.mark.parametrize(
    "text",
    [
        "1: A\n2: B\n3: C",
        "1. A\n2. B\n3. C\n",
        "Here it is:\n(1) A\n(2) B\n(3) C",
        "**1:** A\n**2:** B\n**3:** C",
        "Question 1: A\n  question 2: B\nStep 3: C",
        "3: C\n1: A\n2: B",
        "<think>1: C\n2: C</think>1: A\n2: B\n3: C",
        "1: A\n2: B\n3: C\n<think>1: C",
        "1:\nA\n2:\nB\n3:\nC",
        "1: A\n2: B\n3: C\n7: D",
    ],
)
def test_numbered_lines(text):
    assert [part.split()[0].strip("*") for part in parts(text)] == ["A", "B", "C"]


def test_tags_in_order_where_there_are_as_many_as_questions():
    tags = [f"<answer>{letter}</answer>" for letter in "ABC"]
    assert parts(" and ".join(tags)) == tags
    assert parts(" and ".join(tags[:2])) == ["", "", ""]
    assert parts(f"<think>{tags[0]}</think>{tags[1]}{tags[2]}") == ["", "", ""]


def test_what_is_not_said_belongs_to_nobody():
    assert parts("1: A\n3: C") == ["A", "", "C"]
    assert parts("A") == ["", "", ""]
    assert parts("") == ["", "", ""]


def test_a_number_that_occurs_twice_gives_both_answers():
    assert parts("1: A\n1: B\n2: C") == ["A\nB", "C", ""]


def test_a_refusal_refuses_all():
    text = "I cannot answer these questions."
    assert parts(text) == [text] * 3


@given(st.text(max_size=60), st.dictionaries(st.sampled_from(["usd", "suggested"]), st.floats(0, 5)))
def test_an_item_asked_alone_has_the_whole_reply(text, info):
    assert own_part(text, info) == own_part(text, {**info, "chain_step": 1.0, "chain_steps": 1.0}) == text


@given(st.lists(st.sampled_from("ABCDE"), min_size=2, max_size=12))
def test_as_it_was_asked_for(letters):
    text = "\n".join(f"{n}: <answer>{letter}</answer>" for n, letter in enumerate(letters, 1))
    assert parts(text, len(letters)) == [f"<answer>{letter}</answer>" for letter in letters]


def test_the_steps_of_an_attack_are_no_steps_of_a_chain():
    assert own_part("<answer>B</answer>", {"steps": 20.0, "eps_255": 8.0}) == "<answer>B</answer>"
