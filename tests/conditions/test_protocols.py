"""What a step is told of the steps before it, and which steps those are."""

import pytest
from toy_conditions import make_context, make_item

from medproof.conditions import order_of, prepare, resolve
from medproof.conditions.chains import Chains
from medproof.conditions.families import FAMILIES, perturbations
from medproof.conditions.numbers import PERTURBED
from medproof.conditions.protocols import DECLINED, NO_ANSWER, room
from medproof.errors import UserError
from medproof.models.prompts import INSTRUCTIONS, question_text
from medproof.records import MODES, Decoding, Response
from medproof.scoring.outcomes import outcome

OPTIONS = ("cyst", "mass", "scar")


def step(name, stage, parents=(), case="x", **changes):
    ids = tuple(f"{case}/{parent}" for parent in parents)
    fields = {"case": case, "stage": stage, "parents": ids, "question": f"What is {name}?", "options": OPTIONS}
    return make_item(f"{case}/{name}", **{**fields, "image": "x.png", "answer": "mass", **changes})


A, B, C = step("a", "S1"), step("b", "S2", "a"), step("c", "S2", "b")
D, E = step("d", "S3", "b"), step("e", "S4", "d")
CHAIN = [E, C, D, A, B]


def text_of(how, item, context):
    (view,) = prepare(resolve(f"steps({how})"), [item], context)
    return view.messages[0].text


def replied(item, text, condition="steps(self_conditioned)"):
    return Response(key="k", item_id=item.id, condition=condition, mode="direct", text=text, image_sha256="0" * 64)


def names(items):
    return "".join(item.id[-1] for item in items)


def test_a_step_builds_on_its_ancestors_in_the_order_of_the_chain():
    chains = Chains.of(CHAIN)
    assert {name[-1]: names(earlier) for name, earlier in chains.earlier.items()} == {
        "a": "",
        "b": "a",
        "c": "ab",
        "d": "ab",
        "e": "abd",
    }
    assert names(chains.together[E.id]) == "abcde"
    assert Chains.of(CHAIN[::-1]) == chains


def test_without_any_parents_it_builds_on_all_earlier_stages():
    plain = [item.model_copy(update={"parents": ()}) for item in CHAIN]
    assert {name[-1]: names(earlier) for name, earlier in Chains.of(plain).earlier.items()} == {
        "a": "",
        "b": "a",
        "c": "a",
        "d": "abc",
        "e": "abcd",
    }


def test_cases_pictures_and_missing_parents_are_kept_apart():
    other, second = step("z", "S2", case="y"), step("q", "S3", "b", image="other.png")
    chains = Chains.of([B, D, other, second])  # A is not there, as under --limit
    assert chains.earlier[B.id] == ()
    assert chains.earlier[D.id] == chains.earlier[second.id] == (B,)
    assert chains.together[D.id] == (B, D)
    assert chains.together[second.id] == (second,)
    assert chains.earlier[other.id] == ()
    with pytest.raises(UserError, match="goes in a circle"):
        Chains.of([step("a", "S1", "b"), step("b", "S1", "a")])


def test_right_answers_stand_before_the_question():
    context = make_context(CHAIN)
    told = ["Earlier steps:", "1. What is a? Answer: mass", "2. What is b? Answer: mass"]
    assert text_of("teacher_forced", D, context) == "\n".join([*told, question_text(D, "direct")])
    assert text_of("teacher_forced", A, context) == question_text(A, "direct")


def test_own_answers_stand_in_the_same_words():
    context = make_context(CHAIN)
    condition = resolve("steps(self_conditioned)")
    context.replies[condition.key] = {item.id: replied(item, "<answer>B</answer>") for item in CHAIN}
    for item in CHAIN:
        assert text_of("self_conditioned", item, context) == text_of("teacher_forced", item, context)
    said = {"a": ("<answer>C</answer>", "scar"), "b": ("I see.", NO_ANSWER), "d": ("I cannot answer.", DECLINED)}
    context.replies[condition.key] = {f"x/{name}": replied(step(name, "S1"), told[0]) for name, told in said.items()}
    (view,) = prepare(condition, [E], context)
    lines = view.messages[0].text.splitlines()
    assert [line.partition(" Answer: ")[2] for line in lines[1:4]] == [stated for _, stated in said.values()]
    assert view.info == {"earlier": 3, "earlier_wrong": 3}
    context.replies[condition.key] = {A.id: replied(A, "<answer>B</answer>")}
    with pytest.raises(UserError, match="the earlier step x/b has no answer yet"):
        prepare(condition, [D], context)


@pytest.mark.parametrize("mode", MODES)
def test_one_call_asks_all_and_its_reply_is_read_step_by_step(mode):
    context = make_context([*CHAIN, step("z", "S2", case="y")], mode=mode)
    views = prepare(resolve("steps(joint)"), context.dataset.items, context)
    texts = {view.messages[0].text for view in views[:5]}
    assert len(texts) == 1
    (text,) = texts
    assert INSTRUCTIONS[mode] not in text
    assert [line for line in text.splitlines() if line[1:3] == ". "] == [
        f"{n}. What is {name}?" for n, name in enumerate("abcde", 1)
    ]
    reply = "<think>1: A\nor 2: B</think>\n" + "\n".join(f"{n}: <answer>{x}</answer>" for n, x in enumerate("ABCBA", 1))
    for view in views[:5]:
        given = replied(view.item, reply).model_copy(update={"info": view.info, "mode": mode})
        assert outcome(view.item, given).chosen == OPTIONS["ABC".index("ABCBA"["abcde".index(view.item.id[-1])])]
    assert views[5].messages[0].text == question_text(views[5].item, mode)


def test_the_control_shows_a_grey_image():
    context = make_context(CHAIN)
    control = resolve("steps(teacher_forced, image=blank)")
    assert (control.key, control.expected) == ("steps(teacher_forced,image=blank)", "any")
    (own,), (grey,) = prepare(resolve("steps(teacher_forced)"), [D], context), prepare(control, [D], context)
    assert own.messages == grey.messages
    assert own.image.shape == grey.image.shape
    assert set(grey.image.ravel().tolist()) == {128}


def test_items_without_a_stage_are_skipped_and_numbers_are_documented():
    context = make_context([*CHAIN, make_item("plain")])
    for how in ("teacher_forced", "joint"):
        *steps, plain = prepare(resolve(f"steps({how})"), context.dataset.items, context)
        assert plain is None
        assert all(set(view.info) <= set(PERTURBED) for view in steps)


def test_who_waits_for_whom_and_how_long_a_joint_reply_may_be():
    kinds = ("teacher_forced", "self_conditioned", "joint")
    assert [order_of(resolve(f"steps({how})")) for how in kinds] == ["any", "in_turn", "together"]
    assert order_of(resolve("clean")) == "any"
    assert room(Decoding(max_new_tokens=16), make_context(CHAIN)).max_new_tokens == 16 + 4 * 16


def test_every_perturbation_of_a_family_stands_with_its_control():
    found, reasons = perturbations(FAMILIES, most_options=4)
    keys = [condition.key for condition in found]
    assert len(set(keys)) == len(keys)
    assert all("MONAI" in reason for reason in reasons)
    for condition in found:
        assert condition.twin in (None, "clean", *keys)
    assert [key for key in keys if key.startswith("rotated")] == ["rotated(1)", "rotated(2)", "rotated(3)"]
    for image in ("own", "blank", "noimage", "box_true", "box_wrong", "box_elsewhere"):
        beside = "" if image == "own" else f",image={image}"
        assert {f"hint({which},authority{beside})" for which in ("correct", "wrong", "neutral")} <= set(keys)
    with pytest.raises(UserError, match="no family of perturbations is called 'x'"):
        perturbations(["x"])
