"""One response, one outcome."""

import math

import pytest
from planted import make_item, make_response

from medproof.scoring.outcomes import outcome

ITEM = make_item(0, "B")


@pytest.mark.parametrize(
    ("letter", "status", "chosen"),
    [
        ("B", "correct", "mass"),
        ("A", "wrong", "cyst"),
        ("?", "abstain", None),
        ("-", "unparsed", None),
        ("!", "error", None),
    ],
)
def test_each_status(letter: str, status: str, chosen: str | None) -> None:
    scored = outcome(ITEM, make_response("i0", "clean", letter))
    assert (scored.status, scored.chosen) == (status, chosen)


def test_chosen_by_content_whatever_the_order() -> None:
    turned = make_item(0, "A", ("mass", "nodule", "scar", "cyst"))
    assert outcome(ITEM, make_response("i0", "clean", "B")).chosen == "mass"
    assert outcome(turned, make_response("i0", "clean", "A")).chosen == "mass"


def test_an_error_is_an_error_even_with_a_right_text() -> None:
    response = make_response("i0", "clean", "B", error="TimeoutError: slow")
    assert outcome(ITEM, response).status == "error"


@pytest.mark.parametrize(("text", "status"), [("<think>It is", "unparsed"), ("<answer>B</answer><thi", "correct")])
def test_a_truncated_reply_is_parsed_like_any_other(text: str, status: str) -> None:
    assert outcome(ITEM, make_response("i0", "clean", "B", text=text, truncated=True)).status == status


def test_forced_choice_is_a_second_reading() -> None:
    response = make_response("i0", "clean", "-", option_logprobs=(-3.0, -0.1, -4.0, -5.0))
    scored = outcome(ITEM, response)
    assert (scored.status, scored.forced_choice) == ("unparsed", "mass")


def test_forced_choice_of_equals_is_the_first() -> None:
    response = make_response("i0", "clean", "B", option_logprobs=(-2.0, -1.0, -1.0, -math.inf))
    assert outcome(ITEM, response).forced_choice == "mass"


@pytest.mark.parametrize(
    "logprobs", [(math.nan, -1.0, -1.0, -1.0), (-1.0, -1.0), (math.inf, -1.0, -1.0, -1.0), (-math.inf,) * 4]
)
def test_broken_logprobs_are_an_error(logprobs: tuple[float, ...]) -> None:
    scored = outcome(ITEM, make_response("i0", "clean", "B", option_logprobs=logprobs))
    assert (scored.status, scored.rule, scored.forced_choice) == ("error", "bad_logprobs", None)


def test_a_refusal_option_is_abstain_unless_it_is_the_answer() -> None:
    options = ("cyst", "mass", "cannot be determined")
    response = make_response("i0", "clean", "C")
    assert outcome(make_item(0, "A", options), response).status == "abstain"
    assert outcome(make_item(0, "A", options), response).chosen == "cannot be determined"
    assert outcome(make_item(0, "C", options), response).status == "correct"


def test_another_items_response_is_refused() -> None:
    with pytest.raises(ValueError, match="'i9' scored against item 'i0'"):
        outcome(ITEM, make_response("i9", "clean", "B"))
