"""What a rationale states, against what is annotated: every verdict worked out by hand."""

import pytest
from planted import Run, make_item, make_response

from medproof.datasets import load
from medproof.models.prompts import rationale, target_text
from medproof.records import Item
from medproof.scoring.rationale import KINDS, Vocabulary, reasoning, statements, thought
from medproof.scoring.scored import score

FACTS = {
    "modality": "CT",
    "region": "lung",
    "finding": "pulmonary nodule",
    "where": "upper left of the image",
    "conclusion": "nodule",
}
OTHER = {"modality": "MRI", "region": "breast", "finding": "malignant breast lesion", "conclusion": "mass"}


def item(number: int = 0, **facts: str) -> Item:
    return make_item(number, "C", facts=facts or FACTS)


KNOWN = Vocabulary.of([item(), item(1, **OTHER)])


def test_the_built_in_rationales_agree_with_the_annotations() -> None:
    items = load("sample", split="test", limit=200).items
    known = Vocabulary.of(items)
    for one in items:
        found = statements(one, rationale(one), known)
        assert all(found.judged.values()), (rationale(one), found)
        assert found.option == one.answer_index


@pytest.mark.parametrize(
    ("said", "kind", "verdict"),
    [
        ("This is CT.", "modality", True),
        ("This is MRI.", "modality", False),
        ("This is CT or MRI.", "modality", False),
        ("It shows the lung.", "region", True),
        ("It shows the breast.", "region", False),
        ("Finding: malignant breast lesion.", "region", None),
        ("Finding: malignant breast lesion.", "finding", False),
        ("A pulmonary nodule in the upper left of the image.", "side", True),
        ("A pulmonary nodule in the upper right of the image.", "side", False),
        ("A pulmonary nodule.", "side", None),
        ("So the answer is nodule.", "conclusion", True),
        ("So the answer is C.", "conclusion", True),
        ("So the answer is mass.", "conclusion", False),
        ("So the answer is mass. So the answer is nodule.", "conclusion", None),
        ("It is a nodule.", "conclusion", None),
        ("", "modality", None),
    ],
)
def test_one_statement(said: str, kind: str, verdict: bool | None) -> None:
    assert statements(item(), said, KNOWN).judged[kind] is verdict


def test_the_conclusion_is_no_statement_of_the_region() -> None:
    """An anatomy question answered wrongly: the rationale itself spoke of the right region."""
    asked = make_item(0, "A", options=("lung", "breast"), facts={"region": "lung", "conclusion": "lung"})
    found = statements(asked, "It shows the lung. So the answer is breast.", Vocabulary.of([asked, item(1, **OTHER)]))
    assert dict(found.judged) == {"region": True, "conclusion": False}


def test_counts_are_read_in_digits_and_in_words() -> None:
    asked = item(0, count="two")
    for said, verdict in (("2 nodules", True), ("two nodules", True), ("three nodules", False), ("nodules", None)):
        assert statements(asked, said, KNOWN).judged["count"] is verdict


def test_what_is_not_annotated_is_not_judged() -> None:
    plain = make_item(0, "C")
    assert dict(statements(plain, "This is CT.", KNOWN).judged) == {"conclusion": None}
    assert set(statements(item(), "", KNOWN).judged) == {"modality", "region", "finding", "side", "conclusion"}
    assert set(KINDS) >= {"modality", "region", "finding", "side", "count", "conclusion"}


@pytest.mark.parametrize(
    ("reply", "inside"),
    [
        ("<think>a</think><answer>B</answer>", "a"),
        ("<answer>B</answer><think>a</think>", "a"),
        ("<think>cut off", "cut off"),
        ("<answer>B</answer>", ""),
    ],
)
def test_the_thought_of_a_reply(reply: str, inside: str) -> None:
    assert thought(reply) == inside


def test_reasoning_of_a_run() -> None:
    """Two items with five annotated facts each, and one with four, each an image of its own."""
    items = [item(0), item(1), item(2, **OTHER)]
    texts = [
        target_text(items[0], "think"),  # all of it right
        "<think>This is MRI. So the answer is mass.</think><answer>C</answer>",  # two of five otherwise; answers C
        "garbled",  # nothing said, nothing readable
    ]
    replies = [
        make_response(one.id, "clean", "-", text=text, mode="think", completion_tokens=tokens)
        for one, text, tokens in zip(items, texts, (30, 12, 3), strict=True)
    ]
    found = reasoning(
        score(Run(tuple(items), tuple(replies), {"conditions": ["clean"]})), "clean", Vocabulary.of(items)
    )
    assert found["tokens"]["value"] == pytest.approx(15)
    assert found["parsed"]["value"] == pytest.approx(2 / 3)
    assert found["agreement"]["value"] == pytest.approx((5 / 5 + 0 / 5 + 0 / 4) / 3)
    assert found["contradicted"]["value"] == pytest.approx((0 + 2 / 5 + 0) / 3)
    assert (found["answers_so"]["value"], found["answers_so"]["n"]) == (1 / 2, 2)
    assert {kind: block["n"] for kind, block in found["by_kind"].items()} == {
        "modality": 3,
        "region": 3,
        "finding": 3,
        "side": 2,
        "conclusion": 3,
    }
    assert found["by_kind"]["side"]["value"] == 1 / 2
