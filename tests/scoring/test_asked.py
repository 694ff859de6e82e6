"""A reply is read against the item as it was asked: options turned, a refusal added, another answer right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import make_item, make_response

from medproof.records import LETTERS
from medproof.scoring.asked import REFUSAL, asked
from medproof.scoring.outcomes import outcome
from medproof.scoring.refusal import is_refusal_option

ITEM = make_item(0, "B")


def test_nothing_said_is_the_item_itself():
    assert asked(ITEM, {"eps_255": 8.0}) is ITEM
    assert asked(ITEM, {"options_turned": 0.0}) is ITEM


@given(st.integers(0, 3), st.integers(0, 3))
def test_an_option_is_chosen_by_content_however_they_are_turned(turned, option):
    shown = asked(ITEM, {"options_turned": float(turned)})
    assert sorted(shown.options) == sorted(ITEM.options)
    assert shown.options[0] == ITEM.options[turned]
    letter = LETTERS[shown.options.index(ITEM.options[option])]
    scored = outcome(ITEM, make_response("i0", "c", letter, info={"options_turned": float(turned)}))
    assert scored.chosen == ITEM.options[option]
    assert (scored.status == "correct") == (ITEM.options[option] == ITEM.answer)


def test_another_option_may_be_right():
    info = {"gold": 3.0}
    assert outcome(ITEM, make_response("i0", "c", "D", info=info)).status == "correct"
    assert outcome(ITEM, make_response("i0", "c", "B", info=info)).status == "wrong"


@pytest.mark.parametrize(
    ("letter", "right", "as_control"),
    [
        ("E", "correct", "abstain"),
        ("?", "correct", "abstain"),
        ("B", "wrong", "correct"),
        ("-", "unparsed", "unparsed"),
    ],
)
def test_refusing_is_right_where_it_is_the_answer_in_words_too(letter, right, as_control):
    assert is_refusal_option(REFUSAL)
    info = {"refusal_added": 1.0}
    assert outcome(ITEM, make_response("i0", "c", letter, info={**info, "gold": 4.0})).status == right
    assert outcome(ITEM, make_response("i0", "c", letter, info=info)).status == as_control


def test_option_scores_stand_in_the_order_shown():
    scores = (-3.0, -0.1, -4.0, -5.0)
    plain = outcome(ITEM, make_response("i0", "c", "B", option_logprobs=scores))
    turned = outcome(ITEM, make_response("i0", "c", "B", option_logprobs=scores, info={"options_turned": 1.0}))
    assert plain.forced_choice == ITEM.options[1]
    assert turned.forced_choice == ITEM.options[2]
    more = make_response("i0", "c", "B", option_logprobs=(*scores, -0.01), info={"refusal_added": 1.0})
    assert outcome(ITEM, more).forced_choice == REFUSAL
