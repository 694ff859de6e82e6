"""The stepwise rationale: what it states of a chain, how it is read back, and the recipe that asks for it."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medproof.datasets.items_jsonl import write_items
from medproof.errors import UserError
from medproof.models.nano import GRID
from medproof.models.prompts import EARLIER, STEPS, question_text, target_text
from medproof.records import Item
from medproof.training.examples import Example, ExampleStream
from medproof.training.recipe import Recipe
from medproof.training.rewards.statements import judged, statements
from medproof.training.setup import TrainingData
from medproof.training.steps import rationale, with_earlier, with_steps


def step(task: str, stage: str, answer: str, wrong: str, parents: tuple[str, ...] = (), **fields: object) -> Item:
    return Item.model_validate(
        {
            "id": f"us-1/{task}",
            "image": "us-1.png",
            "width": 200,
            "height": 100,
            "case": "us-1",
            "patient": "p1",
            "modality": "Ultrasound",
            "question_type": "Disease Diagnosis",
            "stage": stage,
            "question": f"{task}?",
            "options": (wrong, answer),
            "answer": answer,
            "parents": tuple(f"us-1/{parent}" for parent in parents),
            "split": "train",
        }
        | fields
    )


EVIDENCE = {"boxes": [{"label": "lesion", "xyxy": [20, 10, 60, 50]}]}
MODALITY = step("modality", "S1", "Ultrasound", "CT")
PRESENT = step("finding_present", "S2", "yes", "no", ("modality",), evidence=EVIDENCE)
BOX = step("lesion_box", "S2", "[100, 100, 300, 500]", "[0, 0, 90, 90]", ("finding_present",), evidence=EVIDENCE)
GRADE = step("malignancy", "S4", "benign", "malignant", ("finding_present",), evidence=EVIDENCE)
SHAPE = step("lesion_shape", "S3", "oval", "round", ("lesion_box",), evidence=EVIDENCE)
CHAIN = [MODALITY, PRESENT, BOX, SHAPE, GRADE]


def test_a_rationale_is_the_ancestors_with_their_evidence_and_the_answer() -> None:
    facts = {item.id.partition("/")[2]: item.facts[STEPS] for item in with_steps(CHAIN, CHAIN)}
    # evidence is stated once, and not where a step answers with it; a step that is no ancestor is not stated
    assert facts == {
        "modality": "So the answer is Ultrasound.",
        "finding_present": "modality: Ultrasound. So the answer is yes.",
        "lesion_box": "modality: Ultrasound; finding present: yes; evidence: 10,10,30,50. "
        "So the answer is [100, 100, 300, 500].",
        "lesion_shape": "modality: Ultrasound; finding present: yes; lesion box: 10,10,30,50. So the answer is oval.",
        "malignancy": "modality: Ultrasound; finding present: yes; evidence: 10,10,30,50. So the answer is benign.",
    }


def test_it_is_the_thought_of_a_target_and_never_in_the_question() -> None:
    grade = with_steps([GRADE], CHAIN)[0]
    assert target_text(grade, "think") == f"<think>{grade.facts[STEPS]}</think><answer>B</answer>"
    assert target_text(grade, "direct") == target_text(GRADE, "direct")
    assert question_text(grade, "think") == question_text(GRADE, "think")


def test_several_boxes_are_no_evidence_to_state_and_an_item_without_stage_stays() -> None:
    boxes = {"boxes": [*EVIDENCE["boxes"], {"label": "lesion", "xyxy": [1, 1, 9, 9]}]}
    several = PRESENT.model_copy(update={"evidence": type(PRESENT.evidence).model_validate(boxes)})
    assert rationale(GRADE, [several]) == "finding present: yes. So the answer is benign."
    alone = GRADE.model_copy(update={"stage": None, "parents": ()})
    assert with_steps([alone], [alone]) == [alone]


WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=6)
PHRASES = st.lists(
    st.one_of(WORDS, st.sampled_from(["1,2,30,40", "8 to 25 %", "a, b; c", "PA (AP)", "1.5 cm"])), min_size=1
).map(" ".join)


@given(st.lists(st.tuples(WORDS, PHRASES), max_size=6), PHRASES)
def test_what_is_written_is_read_back(said: list[tuple[str, str]], answer: str) -> None:
    steps = "; ".join(f"{task}: {phrase}" for task, phrase in said)
    assert statements(f"{steps}. So the answer is {answer}." if said else f"So the answer is {answer}.") == [
        *said,
        ("", answer),
    ]


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6), st.randoms())
def test_the_truth_is_right_in_any_order_of_its_tasks_and_nothing_is_right_of_silence(
    truth: list[tuple[str, str]], random: object
) -> None:
    once = list(dict(truth).items())
    mixed = sorted(once, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert judged(mixed, once) == [True] * len(once)
    assert judged(truth, truth) == [True] * len(truth)
    assert judged([], truth) == [False] * len(truth)


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("10,10,30,50", True),
        ("10,10,30,30", True),  # half of it: IoU 1/2
        ("10,10,30,29", False),
        ("[100, 100, 300, 500]", True),
        ("30,10,10,50", False),
        ("10 10 30 50", False),
    ],
)
def test_a_box_is_right_from_an_overlap_of_one_half_on(said: str, right: bool) -> None:
    assert judged([("evidence", said)], [("evidence", "10,10,30,50")]) == [right]
    assert judged([("", said)], [("", "[100, 100, 300, 500]")]) == [right]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    others = [
        Item.model_validate(json.loads(item.to_json().replace("us-1", "us-2")) | {"patient": "p2"}) for item in CHAIN
    ]
    write_items(tmp_path / "items.jsonl", [*CHAIN, *others])
    return tmp_path / "items.jsonl"


def test_training_items_state_their_steps_whatever_is_filtered_or_held_out(data: Path) -> None:
    section = {"train": str(data), "rationale": "chain", "modes": {"think": 1}}
    source = TrainingData(Recipe.model_validate({"data": section}).data, seed=0)
    plain = TrainingData(Recipe.model_validate({"data": section | {"rationale": "facts"}}).data, seed=0)
    assert source.dataset.fingerprint == plain.dataset.fingerprint
    source.hold_out({GRADE.cluster})
    for epoch in (0, 1):
        texts = {item.id: item.facts[STEPS] for item in source.epoch_items(epoch)}
        assert set(texts) == {item.id.replace("us-1", "us-2") for item in CHAIN}
        assert texts["us-2/malignancy"].endswith("So the answer is benign.")
        assert all(STEPS not in item.facts for item in plain.epoch_items(epoch))


@pytest.mark.parametrize("augment", [{"crop": 0.1}, {"flip": True}])
def test_a_chain_refuses_what_would_belie_its_boxes(augment: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="states boxes and sides"):
        Recipe.model_validate({"data": {"rationale": "chain", "augment": augment}})


def test_a_circle_is_one_line() -> None:
    circle = [step("a", "S1", "x", "y", ("b",)), step("b", "S1", "x", "y", ("a",))]
    with pytest.raises(UserError, match="circle"):
        with_steps(circle, circle)


def test_a_trained_model_has_room_for_its_longest_reply(data: Path, tmp_path: Path) -> None:
    """nano's replies end at 96 tokens; the folder of a model that learnt longer ones says so, and it is heeded."""
    from PIL import Image

    from medproof.models.loading import load_qwen_vl
    from medproof.training.setup import SPARE_TOKENS
    from medproof.training.sft import train

    items = [item.model_copy(update={"answer": "x" * 90, "options": ("x" * 90, "y")}) for item in CHAIN]
    write_items(data, items)
    Image.new("RGB", (200, 100), "grey").save(data.parent / "us-1.png")
    recipe = Recipe.model_validate(
        {
            "model": {"init": "nano"},
            "data": {"train": str(data), "rationale": "chain", "modes": {"think": 1}},
            "optim": {"steps": 1, "batch_size": 2, "warmup_steps": 0},
        }
    )
    model = load_qwen_vl(str(train(recipe, tmp_path / "run", device="cpu")), device="cpu")
    longest = max(len(model.chat.text_ids(target_text(item, "think"))) for item in with_steps(items, items))
    assert model.decoding("think").max_new_tokens == longest + SPARE_TOKENS > 96
    assert load_qwen_vl("nano", device="cpu").decoding("think").max_new_tokens == 96


def test_earlier_steps_stand_before_the_question_with_their_right_answers() -> None:
    facts = {item.id.partition("/")[2]: item.facts.get(EARLIER) for item in with_earlier(CHAIN, CHAIN)}
    assert facts["modality"] is None, "it builds on nothing"
    assert facts["lesion_box"] == ("Earlier steps:\n1. modality? Answer: Ultrasound\n2. finding_present? Answer: yes")


def test_a_share_of_the_examples_is_asked_behind_them_as_under_the_condition() -> None:
    def drawn(share: float) -> list[Example]:
        recipe = Recipe.model_validate({"data": {"earlier": share}})
        items = with_earlier(CHAIN, CHAIN)
        stream = ExampleStream(lambda _: items, lambda _: np.zeros((56, 56, 3), np.uint8), GRID, recipe)
        return [stream.example(index) for index in range(400)]

    never, sometimes = drawn(0), drawn(0.5)
    assert not any(example.before for example in never)
    assert [(e.item.id, e.mode, e.remark) for e in never] == [(e.item.id, e.mode, e.remark) for e in sometimes]
    able = [example for example in sometimes if example.item.id != MODALITY.id]
    assert 0.4 < sum(bool(example.before) for example in able) / len(able) < 0.6
    told = next(example for example in able if example.before)
    assert told.asked[0].text == f"{told.item.facts[EARLIER]}\n{question_text(told.item, told.mode)}"
