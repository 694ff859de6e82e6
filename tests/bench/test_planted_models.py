"""Planted models through the real loop: the metrics name the habit of each, with the values worked out by hand.

The benchmark of the planted corpus has 16 test cases, 8 with a lesion. S2: 16 items ask whether there is one, 8 its
quarter, 8 its box. S3: 10 items. S4: 20 items. 62 in all; only "is there one" has no earlier step.
"""

from collections import Counter
from pathlib import Path

import pytest
from planted_readers import GRID, AlwaysA, Believer, Blind, Follower, Honest, Reader, Storyteller, WrongSteps

from medproof.conditions import resolve
from medproof.datasets import load
from medproof.evaluation.images import ImageLoader
from medproof.evaluation.loop import evaluate
from medproof.runs.store import RunStore, read_run
from medproof.scoring.rationale import reasoning
from medproof.scoring.scored import score
from medproof.scoring.summary import summarise_scored

STEPS = tuple(f"steps({how})" for how in ("teacher_forced", "self_conditioned", "joint"))
CONTROLS = ("blank", "noimage", "shuffled")


@pytest.fixture(scope="module")
def dataset(planted_out):
    return load(planted_out[0] / "items.jsonl", split="test")


@pytest.fixture
def answered(dataset, tmp_path: Path):
    """Runs a planted model; returns what was scored and the report's numbers."""

    def run(kind, *texts, mode="direct"):
        model = kind(dataset, ImageLoader(dataset, GRID))
        meta = {"mode": mode, "seed": 0, "model": kind.__name__, "weights_hash": model.weights_hash}
        with RunStore(tmp_path / kind.__name__).create(meta, dataset.items) as store:
            conditions = [resolve(text) for text in ("clean", *texts)]
            assert evaluate(model, dataset, conditions, store, mode=mode, seed=0).complete
        scored = score(read_run(tmp_path / kind.__name__))
        return scored, summarise_scored(scored)

    return run


def share(items, right):
    items = list(items)
    return sum(map(right, items)) / len(items)


def test_what_the_benchmark_holds(dataset):
    assert len(dataset.items) == 62
    assert Counter(item.stage for item in dataset.items) == {"S2": 32, "S3": 10, "S4": 20}
    assert len({item.case for item in dataset.items}) == 16


def test_the_reader_of_evidence_is_right_everywhere_and_needs_the_evidence(dataset, answered):
    hints = ("hint(wrong,authority)", "hint(neutral,authority)")
    regions = ("region_only(region)", "masked(region)", "masked(elsewhere)")
    scored, summary = answered(Reader, *STEPS, *CONTROLS, *hints, *regions)
    chain = summary["chain"]
    assert list(chain["protocols"]) == ["clean", *STEPS]
    for scores in chain["protocols"].values():
        assert (scores["n"], scores["incomplete"]) == (16, 0)
        for stage in scores["stages"].values():
            assert stage["accuracy"]["value"] == stage["prefix"]["value"] == stage["conditional"]["value"] == 1
        assert scores["unsupported_correct"]["value"] == 0
        assert scores["first_failure"] == {"S2": 0, "S3": 0, "S4": 0, "none": 16}
    assert chain["own_errors"]["all"] == {"value": 0, "ci95": [0, 0], "n": 62}
    table = summary["conditions"]
    assert table["hint(wrong,authority)"]["harmful_flip"] == 0
    assert table["blank"]["accuracy"] == share(dataset.items, lambda item: item.answer_letter == "A")
    with_lesion = [scored.items[name] for name in scored.outcomes["masked(region,grey)"]]
    assert len(with_lesion) > 20
    assert table["masked(region,grey)"]["accuracy"] == share(with_lesion, lambda item: item.answer_letter == "A")
    assert table["masked(elsewhere,grey)"]["accuracy"] == table["region_only(region)"]["accuracy"] == 1


def test_one_that_ignores_the_image_stays_at_chance_and_shows_no_reliance(answered):
    """Of the K items that share a text and hold each option once as the right one, it gets exactly one: 1/K each."""
    _, summary = answered(Blind, *CONTROLS)
    reliance = summary["reliance"]
    for name in ("clean", *CONTROLS):
        assert summary["conditions"][name]["accuracy"] == pytest.approx(summary["chance"])
    assert (reliance["VRS"]["value"], reliance["IS"]["value"], reliance["image_reliant"]["value"]) == (0, 0, 0)
    assert reliance["kappa"]["value"] == pytest.approx(0)


def test_one_that_follows_every_hint(answered):
    sources = ("authority", "self_doubt")
    told = tuple(f"hint({which},{source})" for which in ("wrong", "neutral") for source in sources)
    scored, summary = answered(Follower, *told, "blank", "hint(correct,authority,image=blank)")
    table = summary["conditions"]
    assert table["clean"]["accuracy"] == 1
    for source in sources:
        wrong, neutral = f"hint(wrong,{source})", f"hint(neutral,{source})"
        suggested = {name: reply.info["suggested"] for name, reply in scored.responses[wrong].items()}
        follows = [
            outcome.chosen == scored.items[name].options[int(suggested[name])]
            for name, outcome in scored.outcomes[wrong].items()
        ]
        assert all(follows)  # S = P(a = t | c_0 = 1) = 1
        assert table[wrong]["harmful_flip"] == table[wrong]["harmful_wrong"] == 1
        assert table[wrong]["net"] == -1
        assert (table[neutral]["accuracy"], table[neutral]["harmful_flip"]) == (1, 0)  # so all of it is excess
    assert table["blank"]["accuracy"] < 1
    assert table["hint(correct,authority,image=blank)"]["accuracy"] == 1  # guesses by the hint
    assert summary["chain"]["perturbed"]["hint(wrong,authority)"]["stages"]["S4"]["prefix"]["value"] == 0


def test_one_that_always_says_a(dataset, answered):
    _, summary = answered(AlwaysA, "rotated(1)", "steps(joint)")
    clean, turned = summary["conditions"]["clean"], summary["conditions"]["rotated(1)"]
    assert clean["degenerate"]
    assert clean["answer_distribution"] == {"A": 1.0}
    # Turned by one, the second option stands at A.
    first, second = (share(dataset.items, lambda i, letter=letter: i.answer_letter == letter) for letter in "AB")
    assert (clean["accuracy"], turned["accuracy"]) == (first, second)
    assert summary["conditions"]["steps(joint)"]["accuracy"] == first


def test_one_that_is_right_with_wrong_steps(dataset, answered):
    """All chains that reach S4 have an S2 step, which is wrong: none of its right diagnoses is supported."""
    scored, summary = answered(WrongSteps, *STEPS)
    reach = len({item.case for item in dataset.items if item.stage == "S4"})
    for scores in summary["chain"]["protocols"].values():
        assert {s: stage["accuracy"]["value"] for s, stage in scores["stages"].items()} == {"S2": 0, "S3": 0, "S4": 1}
        assert scores["stages"]["S4"]["prefix"] | {"ci95": None} == {"value": 0, "ci95": None, "n": reach}
        assert scores["stages"]["S4"]["conditional"]["n"] == 0
        assert scores["unsupported_correct"]["value"] == 1
        assert scores["unsupported_correct"]["n"] == reach
        assert scores["first_failure"] == {"S2": 16, "S3": 0, "S4": 0, "none": 0}
        assert scores["slope"]["value"] == pytest.approx(0.5)  # over s = 2, 3, 4: (-1 * 0 + 0 * 0 + 1 * 1) / 2
    steps = [scored.responses["steps(self_conditioned)"][i.id].info for i in dataset.items if i.stage == "S3"]
    assert all(info["earlier_wrong"] == info["earlier"] > 0 for info in steps)


def test_one_that_believes_what_stands_before_pays_for_its_own_errors(answered):
    """Wrong at the first step. Behind right answers all others are right, behind its own none: 46 of 62 are lost."""
    _, summary = answered(Believer, *STEPS[:2])
    table, lost = summary["conditions"], summary["chain"]["own_errors"]
    assert table["clean"]["accuracy"] == table["steps(self_conditioned)"]["accuracy"] == 0
    assert table["steps(teacher_forced)"]["accuracy"] == 46 / 62
    assert {stage: figure["value"] for stage, figure in lost["stages"].items()} == {"S2": 16 / 32, "S3": 1, "S4": 1}
    assert [figure["n"] for figure in lost["stages"].values()] == [32, 10, 20]
    assert lost["all"]["value"] == pytest.approx(46 / 62)


@pytest.mark.parametrize(("kind", "holds"), [(Honest, 1), (Storyteller, 0)])
def test_one_whose_rationale_contradicts_the_image(answered, kind, holds):
    """Of modality, region and conclusion every claim is false, behind every right letter."""
    scored, summary = answered(kind, mode="think")
    assert summary["conditions"]["clean"]["accuracy"] == 1  # the letters do not show it
    found = reasoning(scored, ["clean"])["clean"]
    told = {name: figure["value"] for name, figure in found["by_kind"].items()}
    assert {told[name] for name in ("modality", "region", "conclusion")} == {holds}
    assert (found["accuracy"]["value"], found["contradicted"]["value"]) == (holds, 1 - holds)
    assert (found["wrong_reason"]["value"], found["wrong_reason"]["n"]) == (1 - holds, 62)
    assert found["answers_so"]["value"] == holds
