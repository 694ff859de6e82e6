"""Planted models, each named by the failure that it has."""

import pytest
from planted import GOLD, make_item, make_run
from planted_bench import suggesting

from medproof.scoring.failures import THRESHOLDS, profile, state_of
from medproof.scoring.models import models
from medproof.scoring.paired import holm, mcnemar_p
from medproof.scoring.scored import score
from medproof.scoring.summary import summarise

MANY = 12
HINTS = ("hint(wrong,peer)", "hint(neutral,peer)")
CASES = [
    make_item(4 * case + step, gold, id=f"c{case}/{stage}", case=f"case{case}", image=f"{case}.png", stage=stage)
    for case in range(MANY)
    for step, (gold, stage) in enumerate(zip("ABCD", ("S1", "S2", "S3", "S4"), strict=True))
]
RIGHT = "ABCD" * MANY
OTHER = "BCDA" * MANY


def states(answers: dict[str, str]) -> dict[str, str]:
    found = profile(summarise(suggesting(answers, dict.fromkeys(HINTS, OTHER), CASES)))
    assert found is not None
    return {row["kind"]: row["state"] for row in found}


def run_of(**changes: str) -> dict[str, str]:
    keys = {"clean": RIGHT, "blank": OTHER, "wrong": RIGHT, "neutral": RIGHT} | changes
    return {"clean": keys["clean"], "blank": keys["blank"], HINTS[0]: keys["wrong"], HINTS[1]: keys["neutral"]}


GOOD = {"ignores_image": "no", "follows_hints": "no", "one_letter": "no", "wrong_steps": "no"}


@pytest.mark.parametrize(
    ("answers", "named"),
    [
        pytest.param(run_of(), {}, id="reads the evidence"),
        pytest.param(run_of(blank=RIGHT), {"ignores_image": "yes"}, id="ignores the image"),
        pytest.param(run_of(wrong=OTHER), {"follows_hints": "yes"}, id="follows every hint"),
        pytest.param(
            run_of(**dict.fromkeys(("clean", "blank", "wrong", "neutral"), "AAAA" * MANY)),
            {"ignores_image": "yes", "one_letter": "yes", "wrong_steps": "not measured"},
            id="always says A",
        ),
        pytest.param(run_of(clean="BCDD" * MANY), {"wrong_steps": "yes", "follows_hints": "no"}, id="wrong steps"),
    ],
)
def test_each_planted_failure_is_named(answers: dict[str, str], named: dict[str, str]) -> None:
    assert states(answers) == {**GOOD, "story_contradicts": "not measured", **named}


def test_state_needs_the_whole_interval() -> None:
    block = {"value": 0.95, "ci95": [0.91, 0.99]}
    assert state_of(block, 0.9) == "yes"
    assert state_of(block, 0.95) == "unclear"
    assert state_of(block, 0.995) == "no"
    assert state_of({"value": 1.0, "ci95": None}, 0.9) == "unclear"
    assert state_of(None, 0.9) == "not measured"
    assert set(THRESHOLDS) == {*GOOD, "story_contradicts"}


def test_a_story_against_the_image_is_named() -> None:
    told = {"contradicted": {"value": 0.6, "ci95": [0.5, 0.7], "n": 40}}
    found = profile({"hints": {"pooled": None}, "rationale": {"clean": told}})
    assert found is not None
    (row,) = [row for row in found if row["kind"] == "story_contradicts"]
    assert (row["state"], row["value"], row["n"]) == ("yes", 0.6, 40)


def test_no_profile_without_chains_or_hints() -> None:
    assert profile(summarise(make_run({"clean": GOLD, "blank": GOLD}))) is None


def test_models_are_compared_on_the_same_items() -> None:
    a = score(make_run({"clean": "ABCDABCD", "blank": "AAAAAAAA", "shuffled": GOLD}))
    b = score(make_run({"clean": "AAAAABCA", "blank": "BBBBBBBB", "shuffled": "!BCDABCD"}))
    found = models([a, b])
    assert found is not None
    assert [(row["first"], row["second"], row["a"]) for row in found["tests"]] == [(0, 1, "clean"), (0, 1, "blank")]
    p = [mcnemar_p(4, 0), mcnemar_p(2, 2)]
    assert [row["p"] for row in found["tests"]] == p
    assert [row["p_holm"] for row in found["tests"]] == holm(p)
    assert found["not_compared"] == 1
    assert models([a]) is None
