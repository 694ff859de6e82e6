"""Protocols in the loop: steps behind the stored replies they build on, one call for a chain, nothing asked twice."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from chain_runs import PROTOCOLS, Letters, Scoring, make_chains, reply, rows, run_chains

from medproof.evaluation.chained import whole_cases
from medproof.models.baselines import Majority
from medproof.models.prompts import question_text
from medproof.records import Response
from medproof.runs.store import RunStore
from medproof.scoring.outcomes import outcome

TEACHER, OWN, JOINT = PROTOCOLS
BATCH = 4


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def dataset(tmp_path: Path):
    (tmp_path / "data").mkdir()
    return make_chains(tmp_path / "data")


@pytest.fixture
def undisturbed(dataset, tmp_path: Path):
    run_chains(Letters(), dataset, tmp_path / "undisturbed")
    return rows(tmp_path / "undisturbed")


def texts(stored, condition):
    return {row["item_id"]: row["text"] for row in stored if row["condition"] == condition}


def calls(dataset):
    """How often the model is asked: each step, but a chain once under joint."""
    return 2 * len(dataset.items) + len({item.case for item in dataset.items})


def test_each_step_stands_behind_the_models_own_answers(dataset, undisturbed):
    """The whole protocol done by hand, step by step."""
    stored = {row["item_id"]: row for row in undisturbed if row["condition"] == OWN}
    before = {"a": "", "b": "a", "c": "a", "d": "abc", "e": "abcd"}
    stated = set()
    for item in dataset.items:
        said = []
        for name in before[item.id[-1]]:
            row = stored[f"{item.case}/{name}"]
            found = outcome(next(i for i in dataset.items if i.id == row["item_id"]), Response(**row))
            said.append(f"{len(said) + 1}. What is {name}? Answer: {found.chosen or '(no readable answer)'}")
            stated.add(found.chosen)
        prompt = "\n".join([*(["Earlier steps:", *said] if said else []), question_text(item, "direct")])
        row = stored[item.id]
        assert row["text"] == reply(row["image_sha256"], prompt)
        assert row["info"]["earlier"] == len(said)
    assert stated == {"cyst", "mass", "scar", None}


def test_one_call_answers_a_chain_and_its_cost_counts_once(dataset, tmp_path):
    model = Scoring()
    summary = run_chains(model, dataset, tmp_path / "run", [JOINT])
    assert summary.complete
    assert summary.done == len(dataset.items) == 29
    assert Counter(model.asked) == Counter((JOINT, f"case{case}/a") for case in range(7))
    stored = rows(tmp_path / "run")
    assert sum(row["prompt_tokens"] for row in stored) == 50 * 7
    assert sum(row["info"].get("usd", 0) for row in stored) == 0.5 * 7
    assert len({row["key"] for row in stored}) == 29
    for case in range(7):
        mine = [row for row in stored if row["item_id"].startswith(f"case{case}/")]
        assert len({row["text"] for row in mine}) == 1
        assert [row["info"]["chain_step"] for row in mine] == list(range(1, len(mine) + 1))
        assert {row["info"]["chain_steps"] for row in mine} == {len(mine)}
    assert all(row["option_logprobs"] is None for row in stored)
    assert model.rooms == {(JOINT, 8 + 4 * 16)}  # room for five lines


def test_batch_chunk_and_order_do_not_change_answers(dataset, undisturbed, tmp_path):
    for number, (batch, chunk) in enumerate([(1, 1), (3, 6), (100, 100)]):
        model = Letters()
        run_chains(model, dataset, tmp_path / str(number), batch=batch, chunk=chunk)
        assert rows(tmp_path / str(number)) == undisturbed
        assert len(model.asked) == calls(dataset)
    turned = type(dataset)(dataset.name, dataset.root, dataset.items[::-1])
    run_chains(Letters(), turned, tmp_path / "turned")
    for condition in PROTOCOLS:
        assert texts(rows(tmp_path / "turned"), condition) == texts(undisturbed, condition)


def test_a_server_that_is_asked_in_threads(dataset, undisturbed, tmp_path):
    model = Letters()
    model.concurrency = 3
    assert run_chains(model, dataset, tmp_path / "run").complete
    assert rows(tmp_path / "run") == undisturbed
    assert len(model.asked) == calls(dataset)


def test_killed_in_any_batch_and_resumed(dataset, undisturbed, tmp_path):
    """kill -9 under each protocol; what is asked again is the batch in flight."""
    run = tmp_path / "run"
    stored = 0
    for batches in (4, 9, 9):
        program = [sys.executable, str(Path(__file__).with_name("chain_runs.py"))]
        killed = subprocess.run([*program, str(dataset.root), str(run), str(batches)], timeout=300, check=False)
        assert killed.returncode == -9
        now = len(rows(run))
        assert stored < now < len(undisturbed)
        stored = now
    kept = {row["key"] for row in rows(run)}
    model = Letters()
    assert run_chains(model, dataset, run).complete
    assert rows(run) == undisturbed
    by_key = {(row["condition"], row["item_id"]): row["key"] for row in undisturbed}
    assert not {by_key[call] for call in model.asked} & kept
    again = Letters()
    run_chains(again, dataset, run)
    assert again.asked == []


@pytest.mark.parametrize("when", range(1, 6))
@pytest.mark.parametrize("condition", [OWN, JOINT])
def test_a_second_worker_asks_nothing_twice(dataset, undisturbed, tmp_path, when, condition):
    """It comes in a batch of the first, does what is free, and leaves chains that wait for the first one's replies."""
    batches, second = 0, Letters()

    def another(_):
        nonlocal batches
        batches += 1
        if batches == when:
            run_chains(second, dataset, tmp_path / "run", [condition], chunk=6)

    first = Letters(another)
    assert run_chains(first, dataset, tmp_path / "run", [condition], chunk=6).complete
    assert rows(tmp_path / "run") == [row for row in undisturbed if row["condition"] == condition]
    asked = Counter([*first.asked, *second.asked])
    assert set(asked.values()) == {1}
    assert first.asked
    assert second.asked


@pytest.mark.parametrize(("condition", "spoiled"), [(OWN, "bde"), (JOINT, "abcde")])
def test_a_step_that_fails_takes_what_builds_on_it_until_the_run_is_resumed(
    dataset, undisturbed, tmp_path, condition, spoiled
):
    guilty = "case2/b" if condition == OWN else "case2/a"

    def fault(views):
        if any(view.item.id == guilty for view in views):
            raise ConnectionError("gone")

    summary = run_chains(Letters(fault), dataset, tmp_path / "run", [condition])
    failed = {row["item_id"]: row["error"] for row in rows(tmp_path / "run") if row["error"]}
    assert set(failed) == {f"case2/{name}" for name in spoiled}
    assert "gone" in failed[guilty]
    if condition == OWN:
        assert failed["case2/e"].startswith("the earlier step case2/b has no answer yet")
    assert summary.conditions[condition].errors == len(spoiled)
    model = Letters()
    assert run_chains(model, dataset, tmp_path / "run", [condition]).complete
    assert rows(tmp_path / "run") == [row for row in undisturbed if row["condition"] == condition]
    assert len(model.asked) == (3 if condition == OWN else 1)


def test_items_without_a_stage_are_not_asked(dataset, tmp_path):
    plain = [item.model_copy(update={"stage": None}) for item in dataset.items[:5]]
    mixed = type(dataset)(dataset.name, dataset.root, (*plain, *dataset.items[5:]))
    summary = run_chains(Letters(), mixed, tmp_path / "run")
    assert [counts.not_applicable for counts in summary.conditions.values()] == [5, 5, 5]
    assert summary.complete
    assert RunStore(tmp_path / "run").meta["not_applicable"] == dict.fromkeys(PROTOCOLS, 5)


def test_chunks_tear_no_case_apart(dataset):
    for size in (1, 4, 8, 100):
        chunks = whole_cases(dataset.items, size)
        assert sorted(item.id for chunk in chunks for item in chunk) == sorted(item.id for item in dataset.items)
        where = {item.id: number for number, chunk in enumerate(chunks) for item in chunk}
        assert all(where[item.id] == where[f"{item.case}/a"] for item in dataset.items)
        assert all(len(chunk) <= max(size, 5) for chunk in chunks)


def test_a_baseline_answers_no_whole_chain_at_once(dataset, tmp_path):
    """Chains of one step are single questions; every step of the others is an error that says what to do."""
    run_chains(Majority(dataset.items), dataset, tmp_path / "run", [JOINT])
    length = Counter(item.case for item in dataset.items)
    refused = {item.id for item in dataset.items if length[item.case] > 1}
    found = {row["item_id"]: row["error"] for row in rows(tmp_path / "run")}
    assert {name for name, error in found.items() if error} == refused
    assert all("answers one question at a time: leave out steps(joint)" in found[name] for name in refused)
