"""scripts/stepwise.py: what it still has to do, and its paired rates."""

import argparse
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from load_module import load_module
from medproof.errors import UserError
from medproof.records import Item, Outcome
from medproof.scoring.scored import Scored


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_module("scripts/stepwise.py")


@pytest.fixture
def args(tmp_path: Path) -> argparse.Namespace:
    return argparse.Namespace(
        overrides=["optim.batch_size=8"],
        data="bench/items.jsonl",
        out=tmp_path,
        arm=["plain", "stepwise"],
        seed=[0, 1],
        mode=None,
        source=["authority", "consensus"],
        steps=3,
        limit=None,
        jobs=1,
        device="cpu",
    )


def test_arms_differ_in_recipe_and_mode_and_share_seeds_and_steps(script: ModuleType, args: argparse.Namespace) -> None:
    jobs = script.plan(args)
    assert [(job.arm, job.seed) for job in jobs] == [("plain", 0), ("stepwise", 0), ("plain", 1), ("stepwise", 1)]
    assert {(job.recipe.optim.steps, job.recipe.optim.batch_size, job.recipe.data.train) for job in jobs} == {
        (3, 8, "bench/items.jsonl")
    }
    assert [list(job.runs) for job in jobs] == [["direct"], ["direct", "think"]] * 2
    assert [list(job.rows) for job in jobs[:2]] == [["plain"], ["stepwise, direct", "stepwise, think"]]
    runs = [run for job in jobs for run in script.asking(args, job)]
    assert len({run[-1] for run in runs}) == 6
    asked = {tuple(word for word, flag in zip(run[1:], run) if flag == "--condition") for run in runs}
    assert asked == {tuple(script.conditions(args))}
    assert "steps(self_conditioned)" in script.conditions(args)


def test_each_half_of_stepwise_can_be_measured_alone(script: ModuleType, args: argparse.Namespace) -> None:
    args.arm, args.seed = ["steps", "hints"], [0]
    steps, hints = (job.recipe.data for job in script.plan(args))
    assert (steps.rationale, set(steps.modes), steps.hints.share) == ("chain", {"direct", "think"}, 0)
    assert (set(hints.modes), hints.earlier, hints.hints.share) == ({"direct"}, 0, 0.7)


def test_only_the_modes_that_are_named_are_asked(script: ModuleType, args: argparse.Namespace) -> None:
    args.mode = ["direct"]
    assert [list(job.rows) for job in script.plan(args)[:2]] == [["plain"], ["stepwise"]]


def test_a_finished_training_is_not_repeated_and_a_failure_ends_the_job(
    script: ModuleType, args: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    code = 0

    def run(command: list[str], **_: Any) -> Any:
        ran.append(command[3])
        return subprocess.CompletedProcess(command, code)

    job = script.plan(args)[0]
    monkeypatch.setattr(script.subprocess, "run", run)
    assert script.work(args, job) == 0
    monkeypatch.setattr(script, "is_trained", lambda *_: True)
    assert script.work(args, job) == 0
    monkeypatch.setattr(script, "is_trained", lambda *_: False)
    code = 3
    assert script.work(args, job) == 3
    assert ran == ["train", "run", "run", "train"]


def test_rates_differences_and_ratios_by_hand(script: ModuleType) -> None:
    """Two seeds, three items: a hits 1/2 and 1/1 of those that count, b 1/3 and 1/3."""
    a = [
        {"i": (True, True), "j": (False, True), "k": (False, False)},
        {"i": (True, True), "j": (False, False), "k": (False, False)},
    ]
    b = [
        {"i": (True, True), "j": (False, True), "k": (False, True)},
        {"i": (False, True), "j": (True, True), "k": (False, True)},
    ]
    found = script.compare(a, b, {"i": "p", "j": "q", "k": "r"})
    assert (found["a"], found["b"], found["n"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3), [3, 6])
    assert found["difference"] == pytest.approx(-1 / 3)
    assert found["ratio"] == pytest.approx(1 / 2)
    assert found["per_seed"] == [[0.5, pytest.approx(1 / 3)], [1.0, pytest.approx(1 / 3)]]
    low, high = found["difference_ci95"]
    assert low <= found["difference"] <= high


def test_arms_that_are_right_alike_differ_by_nothing_and_pairing_shows(script: ModuleType) -> None:
    """Both arms are hit by the same draws: a constant gain has no spread, however much the items differ."""
    clusters = {f"i{n}": f"p{n}" for n in range(20)}
    same = [{i: (int(i[1:]) % 3 == k, True) for i in clusters} for k in range(3)]
    found = script.compare(same, same, clusters)
    assert (found["difference"], found["difference_ci95"], found["ratio_ci95"]) == (0.0, (0.0, 0.0), (1.0, 1.0))
    none = [dict.fromkeys(clusters, (False, True))] * 3
    every = [dict.fromkeys(clusters, (True, True))] * 3
    assert script.compare(none, every, clusters)["difference_ci95"] == (1.0, 1.0)


def test_seeds_that_disagree_widen_the_interval(script: ModuleType) -> None:
    clusters = {f"i{n}": f"p{n}" for n in range(30)}
    none, every = dict.fromkeys(clusters, (False, True)), dict.fromkeys(clusters, (True, True))
    found = script.compare([none, none], [every, none], clusters)
    assert (found["difference"], found["difference_ci95"]) == (0.5, (0.0, 1.0))


def test_other_items_are_refused(script: ModuleType) -> None:
    one, other = {"i": (True, True)}, {"j": (True, True)}
    with pytest.raises(UserError, match="different items"):
        script.compare([one], [other], {"i": "p", "j": "q"})


def test_chains_are_measured_under_the_first_wrong_hint_too(script: ModuleType, args: argparse.Namespace) -> None:
    """x and y are right clean; under the hint only x is. Every row has a name of its own."""
    items = {f"{case}/S1": _item(case, "S1") for case in ("x", "y")}
    outcomes = {c: {name: _outcome(name, right=True) for name in items} for c in script.conditions(args)}
    hint = "hint(wrong,authority)"
    outcomes[hint] = {name: _outcome(name, right=name == "x/S1") for name in items}
    scored = Scored({}, items, tuple(outcomes), outcomes, {}, {}, 0)
    rows = script.measures(args)
    found = {row.name: row.units(scored) for row in rows}
    assert len(found) == len(rows)
    assert found["P_S1, independent"] == {"x": (True, True), "y": (True, True)}
    assert found[f"P_S1, {hint}"] == {"x": (True, True), "y": (False, True)}
    assert found[f"item accuracy, {hint}"] == {"x/S1": (True, True), "y/S1": (False, True)}


def test_a_prefix_needs_all_steps_and_a_harmful_flip_a_right_start(script: ModuleType) -> None:
    """Two chains of S1 and S2: one right throughout, one with a wrong first step."""
    items = {f"{case}/{stage}": _item(case, stage) for case in ("x", "y") for stage in ("S1", "S2")}
    clean = {name: _outcome(name, right=name != "y/S1") for name in items}
    wrong = {name: _outcome(name, right=name == "x/S1") for name in items}
    scored = Scored({}, items, ("clean", "hint"), {"clean": clean, "hint": wrong}, {}, {}, 0)
    assert script._prefix(scored, "clean", "S1") == {"x": (True, True), "y": (False, True)}
    assert script._prefix(scored, "clean", "S2") == {"x": (True, True), "y": (False, True)}
    assert script._prefix(scored, "clean", "S3") == {"x": (False, False), "y": (False, False)}
    assert script._prefix(scored, "clean", None) == {"x": (True, True), "y": (False, True)}
    harmed = script._harmed(scored, ["hint"])
    assert sum(counts for _, counts in harmed.values()) == 3
    assert sorted(name for name, (hit, _) in harmed.items() if hit) == ["x/S2\thint", "y/S2\thint"]


def _item(case: str, stage: str) -> Item:
    return Item.model_validate(
        {
            "id": f"{case}/{stage}",
            "image": f"{case}.png",
            "case": case,
            "modality": "CT",
            "question_type": "Disease Diagnosis",
            "stage": stage,
            "question": "?",
            "options": ("a", "b"),
            "answer": "a",
        }
    )


def _outcome(name: str, right: bool) -> Outcome:
    return Outcome(item_id=name, condition="c", mode="direct", status="correct" if right else "wrong")
