"""Cues, hidden evidence and rewordings, counted by hand."""

import pytest
from planted import GOLD, Run, make_item, make_run
from planted_bench import SUGGESTED, suggesting

from medproof.scoring.behaviour import behaviour
from medproof.scoring.cues import cues
from medproof.scoring.intervals import wilson
from medproof.scoring.region import region
from medproof.scoring.scored import score

CUE = [f"cue(box,{where})" for where in ("true", "wrong", "elsewhere")]


def test_cue_follow_and_benefit_less_the_control_cue() -> None:
    # Only i0 to i5 have options that are places, so that a cue names one.
    names = dict.fromkeys(CUE[1:], SUGGESTED[:6] + "  ")
    answers = {"clean": "ABCDAA" + "CD", CUE[0]: GOLD, CUE[1]: "BCCDAC" + "CD", CUE[2]: "BBCDAB" + "AA"}
    block = cues(score(suggesting(answers, names)))
    assert block is not None
    (row,) = block["rows"]
    assert row["cue"] == "box"
    # Right at first, with an option cued: i0 to i4. At the wrong place i0 i1 follow, at the control i0.
    assert row["follow"] == {"value": 2 / 5, "ci95": list(wilson(2, 5)), "n": 5}
    assert row["excess"]["value"] == pytest.approx(1 / 5)
    # Right with the control: i1 i2 i3 i4 i5.
    assert row["lift"]["value"] == pytest.approx(8 / 8 - 5 / 8)
    assert row["harm"]["value"] == pytest.approx(5 / 8 - 5 / 8)
    assert block["tests"] == 3


def test_each_mark_is_a_row_of_its_own() -> None:
    keys = ["burned_in(correct)", "burned_in(neutral)", "marker(wrong)", "marker(neutral)", "cue(arrow,true)"]
    block = cues(score(make_run(dict.fromkeys(["clean", *keys], GOLD))))
    assert block is not None
    assert [row["cue"] for row in block["rows"]] == ["burned_in", "marker", "arrow"]
    assert cues(score(make_run({"clean": GOLD}))) is None


def test_region() -> None:
    keys = ["region_only(region)", "region_only(elsewhere)", "masked(region,grey)", "masked(elsewhere,grey)"]
    letters = {"clean": GOLD, keys[0]: "ABCDABCA", keys[1]: "ABAAAAA ", keys[2]: "AAAAAAAA", keys[3]: "ABCDABAA"}
    block = region(score(make_run(letters)))
    assert block is not None
    (row,) = block["rows"]
    # i7 has no reply under one of them: over the other seven, right 7, 3, 2 and 6.
    assert row["n"] == 7
    assert row["accuracy"]["clean"]["accuracy"] == 1
    assert row["VGR"]["value"] == pytest.approx(7 / 7 - 2 / 7)
    assert row["VGR_control"]["value"] == pytest.approx(3 / 7 - 6 / 7)
    assert row["excess"]["value"] == pytest.approx(8 / 7)
    assert row["masking"]["value"] == pytest.approx(4 / 7)
    low, high = row["excess"]["ci95"]
    assert low < 8 / 7 < high
    assert region(score(make_run({"clean": GOLD}))) is None


def test_negation_flips_what_is_right() -> None:
    items = [make_item(number, gold, ("yes", "no")) for number, gold in enumerate("ABAB")]
    run = make_run({"clean": "ABAA", "wording(negated)": "AABA"}, items)
    # What is right under the negation is the other option.
    replies = [
        reply.model_copy(update={"info": {"gold": 1.0 if reply.item_id in ("i0", "i2") else 0.0}})
        if reply.condition == "wording(negated)"
        else reply
        for reply in run.responses
    ]
    block = behaviour(score(Run(run.items, tuple(replies), run.meta)))
    assert block is not None
    (row,) = block["rows"]
    # Right under the negation would be B A B A: i1, i2, i3 are. Of the three right at first i0 gave the same again.
    assert row["expected"] == "flip"
    assert row["accuracy"] == {"value": 3 / 4, "ci95": list(wilson(3, 4)), "n": 4}
    assert row["stuck"]["value"] == 1 / 3
    assert row["harmful_flip"]["value"] == 1 / 3
    assert row["beneficial_flip"]["value"] == 1
    assert row["difference"]["value"] == 0


def test_false_premise_is_held_against_the_answerable_twin() -> None:
    keys = ("wording(false_premise)", "wording(answerable)")
    run = make_run({"clean": GOLD, keys[0]: "EEE?ABCD", keys[1]: "ABCDABCE"})
    extra = {keys[0]: {"refusal_added": 1.0, "gold": 4.0}, keys[1]: {"refusal_added": 1.0}}
    replies = [reply.model_copy(update={"info": extra.get(reply.condition, {})}) for reply in run.responses]
    block = behaviour(score(Run(run.items, tuple(replies), run.meta)))
    assert block is not None
    premise, twin = block["rows"]
    assert (premise["expected"], premise["against"]) == ("refuse", keys[1])
    assert premise["accuracy"]["value"] == 4 / 8
    assert premise["refused"]["value"] == 4 / 8
    assert twin["refused"]["value"] == 1 / 8
    assert twin["accuracy"]["value"] == 7 / 8
    assert premise["difference"]["value"] == pytest.approx(-3 / 8)
