"""The nouns: round trips, validation on the way in, immutability, canonical text."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from load_module import load_module
from medproof.errors import UserError
from medproof.records import (
    LETTERS,
    Box,
    Certificate,
    Condition,
    Decoding,
    Evidence,
    Item,
    Message,
    Outcome,
    Record,
    Response,
    View,
    json_schema,
    pixels_sha256,
)

ROOT = Path(__file__).resolve().parents[1]


def fields(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "id": "ct-1#finding",
        "image": "images/ct/1.png",
        "case": "ct-1",
        "patient": "p1",
        "modality": "CT",
        "question_type": "Disease Diagnosis",
        "question": "What is seen?",
        "options": ("nodule", "no nodule"),
        "answer": "nodule",
    }
    return base | changes


def item(**changes: Any) -> Item:
    return Item.model_validate(fields(**changes))


words = st.text(alphabet="abcdefgh ÄßΩ,.()<>\"'", min_size=1, max_size=12).filter(lambda t: bool(t.strip()))
option_lists = st.lists(words, min_size=2, max_size=len(LETTERS), unique_by=lambda t: t.casefold().strip())


@st.composite
def items(draw: st.DrawFn) -> Item:
    options = draw(option_lists)
    x0, y0 = draw(st.integers(0, 100)), draw(st.integers(0, 100))
    box = Box(label=draw(words), xyxy=(x0, y0, x0 + draw(st.integers(1, 50)), y0 + draw(st.integers(1, 50))))
    return item(
        id=draw(words),
        options=options,
        answer=draw(st.sampled_from(options)),
        question=draw(words),
        frame=draw(st.none() | st.integers(0, 500)),
        patient=draw(st.none() | words),
        stage=draw(st.sampled_from([None, "S1", "S2", "S3", "S4"])),
        evidence=draw(st.sampled_from([None, Evidence(boxes=(box,), mask="masks/1.png")])),
        facts=draw(st.dictionaries(words, words, max_size=3)),
    )


@given(items())
def test_item_round_trip_keeps_text_and_fingerprint(original: Item) -> None:
    again = Item.from_json(original.to_json())
    assert again == original
    assert again.to_json() == original.to_json()
    assert again.fingerprint() == original.fingerprint()


@given(items())
def test_answer_letter_points_at_the_answer(original: Item) -> None:
    assert original.options[original.letters.index(original.answer_letter)] == original.answer


def test_canonical_json_is_sorted_and_ignores_the_order_given() -> None:
    forwards, backwards = fields(), dict(reversed(fields().items()))
    assert Item.model_validate(forwards).to_json() == Item.model_validate(backwards).to_json()
    keys = list(json.loads(item().to_json()))
    assert keys == sorted(keys)


@pytest.mark.parametrize("change", [{"answer": "no nodule"}, {"frame": 3}, {"window": "lung"}, {"id": "other"}])
def test_every_change_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert item(**change).fingerprint() != item().fingerprint()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"options": ("one",), "answer": "one"}, "needs 2 to 10"),
        ({"options": tuple("abcdefghijk"), "answer": "a"}, "needs 2 to 10"),
        ({"options": ("a", " "), "answer": "a"}, "empty option"),
        ({"options": ("CT", "ct "), "answer": "CT"}, "same option twice"),
        ({"answer": "cyst"}, "none of its options"),
        ({"image": "../secret.png"}, "may not leave"),
        ({"image": "/etc/passwd"}, "may not leave"),
        ({"image": "a/../../b.png"}, "may not leave"),
        ({"image": "a\\..\\b.png"}, "may not leave"),
        ({"image": "a\0.png"}, "may not leave"),
        ({"image": ""}, "may not leave"),
        ({"evidence": {"mask": "../m.png"}}, "may not leave"),
        ({"question_type": "Riddle"}, "question_type"),
        ({"frame": -1}, "frame"),
        ({"id": ""}, "id"),
        ({"colour": "red"}, "colour"),
        ({"split": "validation"}, "split"),
    ],
)
def test_bad_items_are_refused_with_their_reason(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        item(**change)


@pytest.mark.parametrize("xyxy", [(5, 0, 5, 9), (0, 9, 5, 9), (-1, 0, 5, 5), (6, 0, 5, 5)])
def test_boxes_are_ordered(xyxy: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValidationError, match="needs 0 <= x0 < x1"):
        Box(label="lesion", xyxy=xyxy)


def test_records_are_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        item().answer = "no nodule"  # type: ignore[misc]
    with pytest.raises(TypeError):
        item().options[0] = "x"  # type: ignore[index]


def test_cluster_prefers_patient_then_study_then_image() -> None:
    assert item(study="s1").cluster == "patient:p1"
    assert item(patient=None, study="s1").cluster == "study:s1"
    same_image = [item(id=i, patient=None).cluster for i in ("q1", "q2")]
    assert same_image[0] == same_image[1]
    assert item(patient=None, frame=1).cluster != item(patient=None, frame=2).cluster


names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
values = st.from_regex(r"[A-Za-z0-9./_-]{1,8}", fullmatch=True)


@given(names, st.lists(values, max_size=3), st.dictionaries(names, values, max_size=3))
def test_condition_key_is_a_fixed_point_of_parse(name: str, args: list[str], kwargs: dict[str, str]) -> None:
    condition = Condition(name=name, args=tuple(args), kwargs=kwargs)
    again = Condition.parse(condition.key)
    assert (again.name, again.args, again.kwargs, again.key) == (name, tuple(args), kwargs, condition.key)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("clean", "clean"),
        (" pgd( linf , 8/255 , 20 ) ", "pgd(linf,8/255,20)"),
        ("clean()", "clean"),
        ("cue(box, wrong, seed = 3)", "cue(box,wrong,seed=3)"),
        ("x(b=2,a=1)", "x(a=1,b=2)"),
    ],
)
def test_condition_grammar(text: str, key: str) -> None:
    assert Condition.parse(text).key == key


@pytest.mark.parametrize("text", ["", "PGD", "pgd(", "pgd)", "8pgd", "pgd linf", "x(a=1,2)"])
def test_condition_refuses_what_is_no_condition(text: str) -> None:
    with pytest.raises(UserError, match="condition"):
        Condition.parse(text)


@given(st.lists(st.floats(-50, 0), min_size=2, max_size=4), st.text(max_size=20))
def test_response_round_trip(logprobs: list[float], text: str) -> None:
    response = Response(
        key="k", item_id="i", condition="clean", mode="think", text=text, option_logprobs=tuple(logprobs),
        image_sha256="0" * 64, info={"eps": 8.0},
    )  # fmt: skip
    assert Response.from_json(response.to_json()) == response


@pytest.mark.parametrize(
    "record",
    [
        Decoding(max_new_tokens=5, temperature=0.5, top_p=0.9),
        Outcome(item_id="i", condition="clean", mode="direct", status="unparsed"),
        Certificate(
            item_id="i",
            counts={"A": 9, "B": 1},
            predicted="A",
            radius=0.5,
            sigma=0.25,
            n=10,
            alpha=0.001,
            plan="fixed",
            bound="cp",
        ),
    ],
    ids=lambda record: type(record).__name__,
)
def test_other_records_round_trip(record: Record) -> None:
    assert type(record).from_json(record.to_json()) == record


@pytest.mark.parametrize(
    ("record", "values"),
    [
        (Decoding, {"max_new_tokens": 0}),
        (Decoding, {"top_p": 0}),
        (Decoding, {"temperature": -1}),
        (Outcome, {"item_id": "i", "condition": "c", "mode": "direct", "status": "maybe"}),
        (
            Certificate,
            {
                "item_id": "i",
                "counts": {},
                "predicted": None,
                "radius": -1,
                "sigma": 1,
                "n": 1,
                "alpha": 0.1,
                "plan": "",
                "bound": "",
            },
        ),
    ],
)
def test_values_out_of_range_are_refused(record: type[Record], values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        record.model_validate(values)


def view(image: Any) -> View:
    return View(item(), "clean", "direct", (Message("user", "q", image=True),), image)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 4), np.uint8)]
)
def test_views_take_8_bit_rgb_only(image: Any) -> None:
    with pytest.raises(ValueError, match="uint8"):
        view(image)


def test_pixel_hash_sees_shape_pixels_and_nothing_else() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    changed = image.copy()
    changed[0, 0, 0] += 1
    hashes = {pixels_sha256(image), pixels_sha256(changed), pixels_sha256(image.reshape(4, 2, 3)), pixels_sha256(None)}
    assert len(hashes) == 4
    assert pixels_sha256(np.asfortranarray(image)) == view(image).pixels_sha256
    assert view(None).pixels_sha256 == "0" * 64


def test_schema_in_docs_is_current() -> None:
    script = load_module("scripts/write_schema.py")
    stored = (ROOT / "docs" / "records.schema.json").read_text(encoding="utf-8")
    assert stored == script.schema_text(), "run make schema"
    assert set(json.loads(stored)) == set(json_schema())


def test_mappings_inside_a_record_cannot_be_written_to() -> None:
    one = item(facts={"region": "lung"})
    for change in (
        lambda: one.facts.__setitem__("region", "liver"),  # type: ignore[attr-defined]
        lambda: one.facts.update(region="liver"),  # type: ignore[attr-defined]
        lambda: one.facts.pop("region"),  # type: ignore[attr-defined]
        lambda: one.facts.clear(),  # type: ignore[attr-defined]
    ):
        with pytest.raises(TypeError, match="immutable"):
            change()
    with pytest.raises(TypeError, match="immutable"):
        item().facts["x"] = "y"  # type: ignore[index]
    assert one.facts == {"region": "lung"}


def test_records_can_be_hashed_copied_and_sent_to_another_process() -> None:
    one = item(facts={"region": "lung"})
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    assert hash(item(facts={"region": "lung"})) == hash(one)
    assert len({one, item(facts={"region": "lung"}), item()}) == 2
