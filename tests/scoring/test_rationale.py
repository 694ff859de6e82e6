"""The rationale audit over a run: planted stories, every number worked out by hand."""

from collections.abc import Mapping
from typing import Any

import pytest
from planted import Run, make_item, make_response

from medproof.datasets import load
from medproof.models.prompts import rationale
from medproof.records import Item
from medproof.scoring.claims.annotation import annotation
from medproof.scoring.rationale import audit, rationales, reasoning, thought
from medproof.scoring.scored import score
from medproof.scoring.summary import summarise

FACTS = {"modality": "CT", "region": "lung", "finding": "nodule", "conclusion": "nodule"}
ITEMS = tuple(make_item(number, "C", modality="CT", facts=FACTS) for number in range(4))
TRUE = "<think>This is CT. It shows the lung. Finding: nodule. So the answer is nodule.</think><answer>C</answer>"
FALSE = "<think>This is MRI. It shows the breast. No nodule. So the answer is nodule.</think><answer>C</answer>"
TURNED = TRUE.replace("<answer>C", "<answer>A")
SILENT = "<think>Hm.</think><answer>C</answer>"
DOUBT = "<think>This may be MRI. This is CT.</think><answer>C</answer>"


def run(replies: Mapping[str, tuple[str, ...]], items: tuple[Item, ...] = ITEMS, mode: str = "think") -> Run:
    """replies: condition -> one text per item."""
    responses = [
        make_response(item.id, condition, "-", text=text, mode=mode, completion_tokens=10 * place)
        for condition, texts in replies.items()
        for place, (item, text) in enumerate(zip(items, texts, strict=True))
    ]
    return Run(items, tuple(responses), {"conditions": list(replies), "mode": mode, "seed": 0})


def told(replies: Mapping[str, tuple[str, ...]], **changes: Any) -> dict[str, Any]:
    return reasoning(score(run(replies, **changes)), list(replies))


def test_the_built_in_rationales_hold() -> None:
    """Planted reader: everything it states is annotated, and it leaves no fact out."""
    items = load("sample", split="test", limit=200).items
    for one in items:
        found = audit(one, rationale(one))
        assert all(found.claims.values()), (rationale(one), found)
        assert (found.coverage, found.conclusion) == (1.0, one.answer)


def test_the_rationale_of_another_image_does_not_hold() -> None:
    """Planted model whose story contradicts the image: that of an item with another modality and region."""
    items = load("sample", split="test", limit=200).items
    for one in items:
        other = next(item for item in items if item.modality != one.modality)
        assert audit(one, rationale(other)).contradicted >= 1


def test_one_condition() -> None:
    found = told({"clean": (TRUE, FALSE, SILENT, DOUBT)})["clean"]
    # Asserted: 4 + 4 + 0 + 1, all checkable, plus one with doubt; supported 4 + 1 + 0 + 1. All four answers are right.
    assert found["tokens"]["value"] == pytest.approx(15)
    assert found["claims"]["value"] == pytest.approx(9 / 4)
    assert found["checkable"]["value"] == 1.0
    assert (found["hedged"]["value"], found["hedged"]["n"]) == (pytest.approx(1 / 10), 10)
    assert (found["accuracy"]["value"], found["accuracy"]["n"]) == (pytest.approx(6 / 9), 9)
    assert found["contradicted"]["value"] == pytest.approx(3 / 9)
    assert (found["wrong_reason"]["value"], found["wrong_reason"]["n"]) == (1 / 4, 4)
    assert found["coverage"]["value"] == pytest.approx((1 + 1 / 4 + 0 + 1 / 4) / 4)
    assert (found["answers_so"]["value"], found["answers_so"]["n"]) == (1.0, 2)
    assert (found["reasoned"]["value"], found["parsed"]["value"]) == (1.0, 1.0)
    kinds = {kind: (block["value"], block["n"]) for kind, block in found["by_kind"].items()}
    assert kinds == {"modality": (2 / 3, 3), "region": (1 / 2, 2), "finding": (1 / 2, 2), "conclusion": (1.0, 2)}
    assert found["against_clean"] is None
    low, high = found["accuracy"]["ci95"]
    assert 0 < low < 6 / 9 < high <= 1


def test_wrong_answers_have_no_right_reason() -> None:
    """Of the right answers only: a false story under a wrong answer is no right answer with a wrong reason."""
    wrong = FALSE.replace("<answer>C", "<answer>A")
    found = told({"clean": (TRUE, TRUE, wrong, wrong)})["clean"]
    assert (found["wrong_reason"]["value"], found["wrong_reason"]["n"]) == (0.0, 2)
    assert found["answers_so"]["value"] == 1 / 2


def test_does_an_attack_change_the_story_or_only_the_letter() -> None:
    attack = "pgd(linf,8/255,20)"
    found = told({"clean": (TRUE,) * 4, attack: (TRUE, TURNED, FALSE, FALSE.replace("<answer>C", "<answer>A"))})[attack]
    changed = found["against_clean"]
    cells = {name: changed[name]["value"] for name in ("neither", "letter_only", "story_only", "both")}
    assert cells == dict.fromkeys(cells, 1 / 4)
    assert (changed["story_kept"]["value"], changed["story_kept"]["n"]) == (1 / 2, 2)
    # Clean 16 of 16 claims; attacked 4 + 4 + 1 + 1 of 16.
    assert changed["accuracy"]["value"] == pytest.approx(10 / 16 - 1)


def test_another_wording_is_the_same_story() -> None:
    other = "<think>The lung, on computed tomography, holds a nodule. The answer is nodule.</think><answer>C</answer>"
    assert audit(ITEMS[0], thought(other)).story == audit(ITEMS[0], thought(TRUE)).story


def test_said_twice_counts_once() -> None:
    assert audit(ITEMS[0], "This is CT. This is CT. Computed tomography.").supported == 1


def test_what_is_said_with_doubt_does_not_count() -> None:
    found = audit(ITEMS[0], "This may be MRI. Possibly a nodule.")
    assert (found.supported, found.contradicted, found.story) == (0, 0, frozenset())


def test_two_conclusions_are_none() -> None:
    assert audit(ITEMS[0], "So the answer is mass. So the answer is nodule.").conclusion is None


def test_a_mirrored_image_has_its_sides_turned() -> None:
    item = make_item(0, facts={"finding": "nodule", "where": "upper left of the image"})
    said = "A nodule in the upper right of the image."
    plain, turned = annotation(item), annotation(item).mirrored()
    assert (audit(item, said, plain).contradicted, audit(item, said, turned).supported) == (1, 2)
    replies = {"clean": (f"<think>{said}</think>",), "mirrored(keep)": (f"<think>{said}</think>",)}
    found = told(replies, items=(item,))
    assert [found[key]["accuracy"]["value"] for key in replies] == [1 / 2, 1.0]


def test_the_answer_that_was_asked_for_is_the_right_conclusion() -> None:
    """A condition under which another option is right says so in its info; so do options that were turned round."""
    text = "<think>So the answer is B.</think><answer>B</answer>"
    item = ITEMS[0]
    replies = [
        make_response(item.id, "clean", "-", text=text, mode="think"),
        make_response(item.id, "options(turn=1)", "-", text=text, mode="think", info={"options_turned": 1.0}),
    ]
    planted = Run((item,), tuple(replies), {"conditions": ["clean", "options(turn=1)"], "mode": "think"})
    found = reasoning(score(planted), ["clean", "options(turn=1)"])
    assert [block["by_kind"]["conclusion"]["value"] for block in found.values()] == [0.0, 1.0]
    assert [block["answers_so"]["value"] for block in found.values()] == [1.0, 1.0]


def test_the_block_of_a_report() -> None:
    summary = summarise(run({"clean": (TRUE,) * 4, "blank": (FALSE,) * 4}))
    assert list(summary["rationale"]) == ["clean", "blank"]
    assert summary["rationale"]["blank"]["contradicted"]["value"] == pytest.approx(3 / 4)
    assert rationales(score(run({"clean": ("<answer>C</answer>",) * 4}, mode="direct"))) is None


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
