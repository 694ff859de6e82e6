"""The chain block by hand: two patients, three chains."""

import pytest
from planted import make_item, make_run

from medproof.scoring.protocols import chain_block
from medproof.scoring.scored import score

# Chains a: S1 S2 S4, b: S1 S2, c: S1 S4; the right answer is always A.
STEPS = (("a", "S1"), ("a", "S2"), ("a", "S4"), ("b", "S1"), ("b", "S2"), ("c", "S1"), ("c", "S4"))
ITEMS = [
    make_item(number, case=case, stage=stage, patient="p" if case == "a" else "q")
    for number, (case, stage) in enumerate(STEPS)
]
TEACHER, OWN, JOINT = (f"steps({how})" for how in ("teacher_forced", "self_conditioned", "joint"))


def block(answers, items=ITEMS):
    return chain_block(score(make_run(answers, items)))


def value(figure):
    return figure["value"], figure["n"]


def test_protocols_and_perturbations():
    found = block({"blur(3)": "AABAABA", "clean": "ABAAAAA", JOINT: "AAAAA!A", "clean2": "       "})
    assert (found["chains"], found["stages"]) == (3, ["S1", "S2", "S4"])
    assert list(found["protocols"]) == ["clean", JOINT]  # in one order, and only those of the run
    clean, joint = found["protocols"].values()
    assert (clean["n"], clean["incomplete"]) == (3, 0)
    assert value(clean["stages"]["S2"]["accuracy"]) == (1 / 2, 2)
    assert value(clean["unsupported_correct"]) == (1 / 3, 3)  # a, b and c end right; a on a wrong step
    assert (joint["n"], joint["incomplete"]) == (2, 1)  # an error leaves c out
    assert list(found["perturbed"]) == ["blur(3)"]  # of the other no chain is complete
    blurred = found["perturbed"]["blur(3)"]
    assert (blurred["n"], blurred["incomplete"]) == (3, 0)
    assert value(blurred["stages"]["S1"]["accuracy"]) == (2 / 3, 3)
    assert value(blurred["stages"]["S4"]["accuracy"]) == (1 / 2, 2)
    assert value(blurred["stages"]["S4"]["prefix"]) == (0, 2)
    assert found["own_errors"] is None


def test_the_short_form_agrees_with_the_long_one():
    letters = "ABAABBA"
    found = block({"clean": letters, "blur(3)": letters})
    for stage, figures in found["perturbed"]["blur(3)"]["stages"].items():
        for name, figure in figures.items():
            assert value(figure) == value(found["protocols"]["clean"]["stages"][stage][name])


def test_what_own_errors_cost():
    """Counted in both arms: S2 loses one of one, S4 one of two, S1 none of three; the error leaves one out."""
    found = block({TEACHER: "AAAA!AA", OWN: "ABBAAAA"})["own_errors"]
    assert {stage: value(figure) for stage, figure in found["stages"].items()} == {
        "S1": (0, 3),
        "S2": (1, 1),
        "S4": (1 / 2, 2),
    }
    assert found["all"]["value"] == pytest.approx(2 / 6)
    assert found["all"]["n"] == 6
    low, high = found["all"]["ci95"]
    assert (low, high) == pytest.approx((0, 2 / 3))  # patient p loses 2 of 3, q none


def test_a_run_without_stages_has_none():
    assert block({"clean": "AAAAAAA"}, [item.model_copy(update={"stage": None}) for item in ITEMS]) is None
