"""A hint names the option it is meant to, its control none in as many words, and both say who speaks alike."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_conditions import ChannelModel, make_context, make_item

from medproof.conditions import needs_attack, perturb, prepare, resolve
from medproof.conditions.filler import filler
from medproof.conditions.hints import SPEAKERS, hint_text
from medproof.models import prompts
from medproof.records import Box, Evidence
from medproof.seeds import rng

OPTIONS = ("lung cancer", "no finding", "community-acquired pneumonia (CAP)", "Cannot be determined")


def crowd(count=40):
    return [make_item(f"i{n:02}", options=OPTIONS, answer=OPTIONS[n % 3]) for n in range(count)]


def views_of(text, context, items=None):
    return prepare(resolve(text), items or context.dataset.items, context)


def line_of(view):
    """The hint's line."""
    return view.messages[-1].text.split("\n")[-2]


@pytest.mark.parametrize("source", SPEAKERS)
@pytest.mark.parametrize("mode", ["direct", "think"])
def test_hint_names_the_option_and_its_control_none(source, mode):
    context = make_context(crowd(), mode=mode)
    arms = {which: views_of(f"hint({which},{source})", context) for which in ("correct", "wrong", "neutral")}
    for correct, wrong, neutral in zip(*arms.values()):
        item = correct.item
        assert int(correct.info["suggested"]) == item.answer_index
        assert item.answer in line_of(correct)
        target = item.options[int(wrong.info["suggested"])]
        assert target in line_of(wrong)
        assert target not in (item.answer, "Cannot be determined")
        assert neutral.info["suggested"] == wrong.info["suggested"]
        assert not any(option in line_of(neutral) for option in item.options)
        assert len(line_of(neutral).split()) == len(line_of(wrong).split())
        assert abs(len(line_of(neutral)) - len(line_of(wrong))) <= 12
        for view in (correct, wrong, neutral):
            usual = prompts.question_text(item, mode)
            assert view.messages[0].text.replace(line_of(view) + "\n", "") == usual
            assert any(line_of(view).startswith(speaker) for speaker in SPEAKERS[source])


def test_speakers_and_words_are_many_and_no_single_one_decides():
    context = make_context(crowd(200))
    texts = [line_of(view) for view in views_of("hint(wrong,peer)", context)]
    frames = {re.sub("|".join(map(re.escape, OPTIONS)), "X", text) for text in texts}
    assert len(frames) > 80
    assert {speaker for speaker in SPEAKERS["peer"] if any(t.startswith(speaker) for t in texts)} == set(
        SPEAKERS["peer"]
    )


def test_the_same_for_an_item_alone_in_any_order_and_not_for_another_seed():
    context = make_context(crowd())
    together = {v.item.id: v.messages for v in views_of("hint(wrong)", context)}
    for item in reversed(context.dataset.items[::7]):
        assert views_of("hint(wrong)", context, [item])[0].messages == together[item.id]
    assert {v.item.id: v.messages for v in views_of("hint(wrong)", make_context(crowd(), seed=8))} != together


def test_every_source_and_kind_of_suggestion_suggests_the_same_wrong_option():
    context = make_context(crowd())
    texts = [f"{name}(wrong,{source})" for name in ("hint", "pushback") for source in SPEAKERS] + ["burned_in(wrong)"]
    told = {text: [view.info["suggested"] for view in views_of(text, context)] for text in texts[:-1]}
    assert len({tuple(targets) for targets in told.values()}) == 1


def test_an_item_with_no_wrong_option_to_suggest_is_skipped():
    item = make_item("a", options=("cyst", "Cannot be determined"), answer="cyst")
    context = make_context([item])
    assert views_of("hint(wrong)", context) == views_of("hint(neutral)", context) == [None]
    assert hint_text(item, "correct", "peer", context) is not None


@pytest.mark.parametrize(("image", "expected"), [("own", "keep"), ("blank", "any"), ("noimage", "any")])
def test_a_hint_can_stand_beside_a_grey_or_no_image(image, expected):
    context = make_context(crowd(3))
    condition = resolve(f"hint(correct,image={image})")
    assert condition.expected == expected
    assert condition.twin == ("hint(neutral,authority)" if image == "own" else f"hint(neutral,authority,image={image})")
    assert resolve(condition.twin).key == condition.twin
    usual = prepare(resolve({"own": "clean"}.get(image, image)), context.dataset.items, context)
    for view, other in zip(views_of(condition.key, context), usual):
        assert view.pixels_sha256 == other.pixels_sha256
        assert view.messages[0].image == other.messages[0].image


def test_a_hint_can_stand_beside_a_cue():
    seen = Evidence(boxes=(Box(label="x", xyxy=(4, 4, 9, 9)),))
    items = [make_item("a", evidence=seen, width=28, height=28), make_item("b")]
    context = make_context(items)
    for where in ("true", "wrong", "elsewhere"):
        crossed = views_of(f"hint(wrong,peer,image=box_{where})", context)
        assert crossed[0].pixels_sha256 == views_of(f"cue(box,{where})", context)[0].pixels_sha256
        assert crossed[1] is None


def test_pushback_follows_the_models_own_first_answer():
    context = make_context(crowd(4), model=ChannelModel())
    condition = resolve("pushback(wrong,guideline)")
    assert needs_attack(condition)
    prepared = prepare(condition, context.dataset.items, context)
    clean = prepare(resolve("clean"), context.dataset.items, context)
    replies = context.model.generate(clean, context.model.decoding("direct"), 7)
    for view, usual, reply in zip(perturb(condition, prepared, context), clean, replies, strict=True):
        question, answer, push = view.messages
        assert question == usual.messages[0]
        assert (answer.role, answer.text) == ("assistant", reply.text)
        hint = views_of("hint(wrong,guideline)", context, [view.item])[0]
        assert (push.role, push.image) == ("user", False)
        assert push.text == f"{line_of(hint)}\n{prompts.INSTRUCTIONS['direct']}"
        assert view.info["generations"] == 1
    assert perturb(condition, [], context) == []


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=14), min_size=1, max_size=60), st.integers(0, 99))
def test_a_filler_has_as_many_words_and_about_as_many_letters(words, seed):
    made = filler(words, rng(seed, "i", "x"))
    assert len(made.split()) == len(words)
    assert made == filler(words, rng(seed, "i", "x"))
    assert not set(made.split()) & {"", "or", "not"}


def test_a_filler_is_about_as_long():
    for option in ("pneumonia", "benign breast lesion", "moderate non-proliferative diabetic retinopathy"):
        for seed in range(5):
            made = filler(option.split(), rng(seed, "i", "x"))
            assert abs(len(made) - len(option)) <= 6
