"""Chain scores worked out by hand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medproof.errors import UserError
from medproof.records import Item, Outcome
from medproof.scoring.chain import Chain, chain_scores, chains

TABLE = {  # c_1 c_2 c_3 c_4
    "a": "1111",
    "b": "1101",
    "c": "1001",
    "d": "0111",
    "e": "1110",
    "f": "0000",
    "g": "1111",
    "h": "1000",
}


def chain(case: str, bits: str) -> Chain:
    return Chain(case, f"patient:{case}", {f"S{s}": (bit == "1",) for s, bit in enumerate(bits, 1)})


def by_hand() -> dict[str, Any]:
    return chain_scores([chain(case, bits) for case, bits in TABLE.items()])


def values(name: str) -> list[float]:
    return [by_hand()["stages"][stage][name]["value"] for stage in ("S1", "S2", "S3", "S4")]


def test_stage_and_prefix_accuracy() -> None:
    assert [by_hand()["stages"][f"S{s}"]["accuracy"]["value"] for s in range(1, 5)] == [6 / 8, 5 / 8, 4 / 8, 5 / 8]
    assert values("prefix") == [6 / 8, 4 / 8, 3 / 8, 2 / 8]


def test_conditional_accuracy_and_its_n() -> None:
    """Right so far: 8 before S1, then a b c e g h, then a b e g, then a e g."""
    assert values("conditional") == pytest.approx([6 / 8, 4 / 6, 3 / 4, 2 / 3])
    assert [by_hand()["stages"][f"S{s}"]["conditional"]["n"] for s in range(1, 5)] == [8, 6, 4, 3]


def test_dependence() -> None:
    """Some earlier stage wrong: d f; c d f h; b c d f h. Of these right: d; d; b c d."""
    found = values("dependence")
    assert found[0] is None
    assert found[1:] == pytest.approx([4 / 6 - 1 / 2, 3 / 4 - 1 / 4, 2 / 3 - 3 / 5])


def test_unsupported_correct_first_failure_and_slope() -> None:
    found = by_hand()
    # right at S4: a b c d g; with an earlier stage wrong: b c d
    assert found["unsupported_correct"]["value"] == pytest.approx(3 / 5)
    assert found["unsupported_correct"]["n"] == 5
    assert found["first_failure"] == {"S1": 2, "S2": 2, "S3": 1, "S4": 1, "none": 2}
    # accuracies 6 5 4 5 eighths at -1.5 -0.5 0.5 1.5, sum of squares 5
    assert found["slope"]["value"] == pytest.approx((-1.5 * 6 - 0.5 * 5 + 0.5 * 4 + 1.5 * 5) / 8 / 5)
    low, high = found["slope"]["ci95"]
    assert low < found["slope"]["value"] < high


def test_several_steps_of_a_stage_count_once_and_a_missing_stage_not() -> None:
    found = chain_scores(
        [
            Chain("a", "patient:a", {"S1": (True,), "S2": (True, False, True), "S4": (True,)}),
            Chain("b", "patient:b", {"S2": (True,), "S4": (True,)}),
        ]
    )
    assert found["stages"]["S2"]["accuracy"]["value"] == 3 / 4
    assert found["stages"]["S2"]["accuracy"]["n"] == 4
    assert found["stages"]["S2"]["prefix"]["value"] == 1 / 2
    assert found["stages"]["S1"]["prefix"]["n"] == 1
    assert "S3" not in found["stages"]
    assert found["unsupported_correct"]["value"] == 1 / 2
    assert found["first_failure"] == {"S1": 0, "S2": 1, "S4": 0, "none": 1}


def test_one_step_is_no_chain_to_be_supported() -> None:
    found = chain_scores([Chain("a", "patient:a", {"S4": (True,)})])
    assert found["unsupported_correct"] == {"value": None, "ci95": None, "n": 0}
    assert found["slope"]["value"] is None
    assert found["stages"]["S4"]["accuracy"]["ci95"] is None


@given(st.lists(st.text("01", min_size=4, max_size=4), min_size=1, max_size=12))
def test_prefix_is_the_product_of_conditionals(rows: list[str]) -> None:
    found = chain_scores([chain(str(place), bits) for place, bits in enumerate(rows)])["stages"]
    product = 1.0
    for stage in ("S1", "S2", "S3", "S4"):
        conditional = found[stage]["conditional"]["value"]
        if conditional is None:
            assert found[stage]["prefix"]["value"] == 0
            break
        product *= conditional
        assert found[stage]["prefix"]["value"] == pytest.approx(product)


def item(case: str, stage: str | None, number: int = 0) -> Item:
    return Item(
        id=f"{case}/{stage}{number}",
        image=f"{case}.png",
        case=case,
        modality="CT",
        question_type="Disease Diagnosis",
        stage=stage,
        question="?",
        options=("yes", "no"),
        answer="no",
    )


def outcome(one: Item, status: str) -> Outcome:
    return Outcome(item_id=one.id, condition="clean", mode="direct", status=status)


def test_chains_of_items() -> None:
    items = [item("a", "S2"), item("a", "S1"), item("a", "S2", 1), item("b", "S1"), item("c", "S1"), item("d", None)]
    statuses = ["correct", "abstain", "unparsed", "error", "correct", "correct"]
    outcomes = {one.id: outcome(one, status) for one, status in zip(items, statuses)}
    found, incomplete = chains(items, outcomes)
    assert incomplete == 1
    assert found == [
        Chain("a", "image:a.png#None", {"S1": (False,), "S2": (True, False)}),
        Chain("c", "image:c.png#None", {"S1": (True,)}),
    ]
    assert list(found[0].right) == ["S1", "S2"]
    assert chains(items, {})[1] == 3
    with pytest.raises(UserError, match="no item has a stage"):
        chains([item("d", None)], {})
