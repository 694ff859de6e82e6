"""Other words, and what they do to the right answer."""

import pytest
from toy_conditions import make_context, make_item

from medproof.conditions import prepare, resolve
from medproof.conditions.wording import WORDINGS, reworded
from medproof.datasets.questions import KINDS as STEMS
from medproof.scoring.asked import asked
from medproof.scoring.refusal import is_refusal_option


def asked_of(view):
    """The question's line."""
    return view.messages[0].text.split("\n")[0]


def views_of(how, items, seed=7):
    return prepare(resolve(f"wording({how})"), items, make_context(items, seed=seed))


def test_expected_behaviour_and_control_of_each():
    told = {how: (resolve(f"wording({how})").expected, resolve(f"wording({how})").twin) for how in WORDINGS}
    assert told == {
        "paraphrase": ("keep", "clean"),
        "vague": ("any", "clean"),
        "negated": ("flip", "clean"),
        "false_premise": ("refuse", "wording(answerable)"),
        "answerable": ("keep", None),
    }


@pytest.mark.parametrize("slug", STEMS)
def test_a_known_question_is_asked_by_another_stem_about_the_same_subject(slug):
    stems = [stem.replace("{subject}", "white blood cell") for stem in STEMS[slug].stems]
    kind = STEMS[slug].question_type
    items = [make_item(f"i{n}", question=stems[n % len(stems)], question_type=kind) for n in range(12)]
    views = views_of("paraphrase", items)
    for item, view in zip(items, views):
        assert asked_of(view) in stems
        assert (asked_of(view) != item.question) == (len(stems) > 1)
        assert (view.item.options, view.item.answer) == (item.options, item.answer)


def test_another_question_keeps_its_words_in_one_of_many_frames():
    items = [make_item(f"i{n}", question="Is the {left} one torn?") for n in range(60)]
    seen = {asked_of(view) for view in views_of("paraphrase", items)}
    assert all("Is the {left} one torn?" in text for text in seen)
    assert len(seen) >= 8


def test_a_vague_question_says_nothing_of_what_is_asked():
    items = [make_item(f"i{n}", question="Which vertebra is broken?") for n in range(60)]
    views = views_of("vague", items)
    assert len({asked_of(view) for view in views}) >= 8
    assert not any("vertebra" in view.messages[0].text for view in views)
    assert all(option in view.messages[0].text for view in views for option in view.item.options)


def test_negation_makes_the_other_of_two_options_right_and_skips_more():
    two = [
        make_item(f"i{n}", options=("benign", "malignant"), answer=("benign", "malignant")[n % 2]) for n in range(40)
    ]
    for item, view in zip(two, views_of("negated", two)):
        assert view.item.answer != item.answer
        assert view.item.options == item.options
        assert asked(item, view.info).answer == view.item.answer
        assert item.question in asked_of(view)
        assert any(word in asked_of(view) for word in ("NOT", "wrong"))
    assert views_of("negated", [make_item("three")]) == [None]


def test_a_false_premise_is_to_be_refused_and_its_control_answered():
    items = [make_item(f"i{n}", anatomy="chest") for n in range(40)]
    false, true = views_of("false_premise", items), views_of("answerable", items)
    for item, premise, control in zip(items, false, true):
        assert premise.item.options == control.item.options == (*item.options, "Cannot be determined")
        assert is_refusal_option(premise.item.answer)
        assert control.item.answer == item.answer
        assert asked(item, premise.info).answer == premise.item.answer
        assert asked(item, control.info).answer == item.answer
        assert asked_of(control) == item.question
        assert "D) Cannot be determined" in premise.messages[0].text
    assert len({asked_of(view) for view in false}) > 20


@pytest.mark.parametrize(
    "changes",
    [
        {"anatomy": None},
        {"anatomy": "hand"},
        {"anatomy": "lower limb"},
        {"anatomy": "chest", "options": ("a cyst", "Cannot be determined"), "answer": "a cyst"},
        {"anatomy": "chest", "options": tuple("abcdefghij"), "answer": "a"},
    ],
)
def test_no_false_premise_where_it_might_be_true_or_there_is_no_room(changes):
    item = make_item("a", **changes)
    assert views_of("false_premise", [item]) == views_of("answerable", [item]) == [None]


@pytest.mark.parametrize("how", WORDINGS)
def test_the_same_alone_and_in_any_order(how):
    items = [make_item(f"i{n}", anatomy="lung", options=("yes", "no"), answer="yes") for n in range(9)]
    together = {view.item.id: view.messages for view in views_of(how, items)}
    for item in reversed(items):
        assert views_of(how, [item])[0].messages == together[item.id]


def test_a_question_may_hold_braces():
    item = make_item("a", question="{0} {x} {}?", options=("yes", "no"), answer="yes")
    for how in ("paraphrase", "negated"):
        assert "{0} {x} {}?" in reworded(item, how, make_context([item]))[0].question
