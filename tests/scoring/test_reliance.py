"""Looking at the image: a model that reads it and one that does not, worked out on paper."""

import numpy as np
import pytest
from planted import BLIND, GOLD, ITEMS, READER, make_item, make_run

from medproof.scoring.intervals import wilson
from medproof.scoring.reliance import kappa_of, reliance
from medproof.scoring.scored import score


def block_of(answers: dict[str, str], text_prior: object = None, items: tuple = ITEMS) -> dict:
    scored = score(make_run(answers, items))
    return reliance(scored.outcomes, scored.items, text_prior)


def test_a_model_that_reads_the_image() -> None:
    block = block_of(READER, {"accuracy": 0.5, "n": 40})
    assert block["clean"] == {"accuracy": 1.0, "ci95": list(wilson(8, 8)), "n": 8}
    assert block["blank"]["accuracy"] == 0.25
    assert block["shuffled"]["accuracy"] == 0.0
    assert block["noimage"] is None
    assert block["text_prior"] == {"accuracy": 0.5, "ci95": list(wilson(20, 40)), "n": 40}
    assert block["VRS"] == {"value": 1.0, "ci95": [1.0, 1.0], "n": 8}
    assert block["IS"]["value"] == 1.0
    assert block["blank_drop"]["value"] == 0.75
    assert block["kappa"]["value"] == 1.0
    assert (block["kappa"]["m"], block["kappa"]["m_from"]) == (0.5, "text_prior")
    assert block["image_reliant"]["value"] == 6 / 8  # items 0 and 4 are A on the blank image too
    assert block["image_reliant"]["ci95"] == list(wilson(6, 8))
    assert block["image_reliant_correct"]["value"] == 6 / 8


def test_a_model_that_ignores_the_image() -> None:
    block = block_of({**BLIND, "noimage": "AAAAAAAA"})
    for name in ("VRS", "IS", "blank_drop", "image_reliant", "image_reliant_correct", "kappa"):
        assert block[name]["value"] == 0.0, name
    assert block["kappa"]["m_from"] == "noimage"


def test_kappa_takes_the_better_blind_arm() -> None:
    # clean 6/8, no image 3/8, text prior 4/8: (6/8 - 4/8) / (1 - 4/8) = 1/2
    hits = {f"i{n}": n < 4 for n in range(8)}
    block = block_of({"clean": "ABCDABAA", "noimage": "ABCABAAA"}, {"correct": hits})
    assert block["noimage"]["accuracy"] == 3 / 8
    assert block["kappa"]["value"] == pytest.approx(0.5)
    assert block["kappa"]["m_from"] == "text_prior"
    low, high = block["kappa"]["ci95"]
    assert low < 0.5 < high


def test_kappa_formula() -> None:
    assert kappa_of(np.array([0.75, 0.5, 0.6])) == pytest.approx(0.375)
    assert np.isnan(kappa_of(np.array([1.0, 1.0])))


def test_kappa_is_null_where_a_blind_arm_is_perfect() -> None:
    assert block_of({"clean": GOLD}, 1.0)["kappa"]["value"] is None


def test_conditions_not_run_are_null() -> None:
    block = block_of({"clean": GOLD})
    assert [name for name, value in block.items() if value is None] == [
        "blank",
        "noimage",
        "shuffled",
        "text_prior",
        "VRS",
        "IS",
        "blank_drop",
        "kappa",
        "image_reliant",
        "image_reliant_correct",
    ]
    assert block_of({"blank": GOLD})["clean"] is None


def test_a_fitted_prior_without_a_value_is_null() -> None:
    assert block_of({"clean": GOLD}, {"accuracy": None, "reason": "no training split"})["text_prior"] is None


def test_by_modality() -> None:
    # CT is items 0, 2, 4, 6 (gold A, C, A, C): blank is right on two of them; MRI has gold B, D, B, D: on none.
    prior = {"accuracy": 0.6, "by_modality": {"CT": {"accuracy": 0.5, "n": 4, "ci95": [0.1, 0.9]}}}
    by = block_of(READER, prior)["by"]["modality"]
    assert by["CT"]["blank"]["accuracy"] == 0.5
    assert by["MRI"]["blank"]["accuracy"] == 0.0
    assert by["CT"]["text_prior"] == {"accuracy": 0.5, "ci95": [0.1, 0.9], "n": 4}
    assert by["MRI"]["text_prior"] is None
    assert by["MRI"]["image_reliant"]["value"] == 1.0
    assert by["CT"]["image_reliant"]["value"] == 0.5


def test_errors_leave_both_arms_of_a_difference() -> None:
    block = block_of({"clean": "!BCDABCD", "shuffled": "A!CDABCA"})
    assert block["VRS"]["n"] == 6
    assert block["VRS"]["value"] == pytest.approx(1 / 6)
    assert block["clean"]["n"] == 7


def test_two_unparsed_replies_are_the_same_answer_and_a_refusal_is_another() -> None:
    block = block_of({"clean": "--??ABCD", "shuffled": "-?-?ABCD"})
    assert block["IS"]["value"] == 2 / 8


def test_one_cluster_has_no_bootstrap_interval() -> None:
    items = tuple(make_item(n, "A", patient="p") for n in range(3))
    block = block_of({"clean": "AAA", "shuffled": "AAB"}, items=items)
    assert block["VRS"]["value"] == pytest.approx(1 / 3)
    assert block["VRS"]["ci95"] is None
