import itertools
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_evaluation import (
    CONDITIONS,
    COST,
    FakeModel,
    FakeScorer,
    answers,
    digest,
    fake_conditions,
    make_dataset,
    make_store,
    run_fake,
)

from medproof.conditions import resolve
from medproof.datasets import Dataset
from medproof.errors import UserError
from medproof.evaluation.images import ImageLoader
from medproof.evaluation.loop import evaluate
from medproof.evaluation.progress import Progress
from medproof.models.prompts import messages
from medproof.records import Condition, Decoding, Item, View, pixels_sha256
from medproof.runs.store import RunStore, read_run

CLEAN = CONDITIONS[:1]
ATTACK = CONDITIONS[3:4]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Power cuts are not what these tests are about."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    folder = tmp_path / "data"
    folder.mkdir()
    return make_dataset(folder)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


def batch_sizes(model: FakeModel) -> list[int]:
    return [len(batch) for batch in model.batches]


def test_every_item_is_answered_under_every_condition(dataset: Dataset, run: Path) -> None:
    model = FakeModel()
    summary = run_fake(model, dataset, run)
    data = read_run(run)
    assert [(r.condition, r.item_id) for r in data.responses] == [
        (condition.key, item.id)
        for condition in CONDITIONS
        for number, item in enumerate(dataset.items)
        if condition.name != "sometimes" or number % 3
    ]
    assert all(r.error is None and r.worker and r.option_logprobs is None for r in data.responses)
    assert data.meta["not_applicable"] == {"clean": 0, "blank": 0, "noise": 0, "attack": 0, "sometimes": 8}
    assert data.meta["conditions"] == [condition.key for condition in CONDITIONS]
    counts = summary.conditions["sometimes"]
    assert (counts.done, counts.skipped, counts.errors, counts.not_applicable) == (16, 0, 0, 8)
    assert summary.complete
    assert summary.done == 4 * 24 + 16
    assert len(list((run / "responses").iterdir())) == 1


def test_the_answer_is_that_of_the_item_s_own_pixels(dataset: Dataset, run: Path) -> None:
    run_fake(FakeModel(), dataset, run, [*CLEAN, *ATTACK])
    load = ImageLoader(dataset, FakeModel().grid)
    store = RunStore(run)
    by_id = {item.id: item for item in dataset.items}
    for response in store.responses():
        item = by_id[response.item_id]
        pixels = load(item) if response.condition == "clean" else 255 - load(item)
        view = View(item, response.condition, "direct", messages(item, "direct"), pixels)
        assert response.text == digest(view)
        assert response.image_sha256 == view.pixels_sha256
        assert np.array_equal(store.image(response.image_sha256), pixels)
        assert response.info == ({"eps_255": 8.0} if response.condition == "attack" else {})


def test_batch_and_chunk_and_threads_do_not_change_answers(dataset: Dataset, tmp_path: Path) -> None:
    runs = []
    for number, (tokens, chunk, threads) in enumerate([(1, 1, 1), (4 * COST, 8, 2), (1000 * COST, 1000, 4)]):
        runs.append(tmp_path / str(number))
        run_fake(FakeModel(), dataset, runs[-1], batch_tokens=tokens, chunk=chunk, threads=threads)
    assert answers(runs[0]) == answers(runs[1]) == answers(runs[2])
    assert len(answers(runs[0])) == 4 * 24 + 16


def test_equal_sizes_meet_in_a_batch(dataset: Dataset, run: Path) -> None:
    model = FakeModel()
    run_fake(model, dataset, run, CLEAN)
    assert batch_sizes(model) == [4] * 6
    assert all(len(set(shapes)) == 1 for shapes in model.shapes)


def test_a_second_call_asks_the_model_nothing(dataset: Dataset, run: Path) -> None:
    run_fake(FakeModel(), dataset, run)
    before = answers(run)
    model = FakeModel()
    summary = run_fake(model, dataset, run)
    assert model.batches == []
    assert [c.skipped for c in summary.conditions.values()] == [24, 24, 24, 24, 16]
    assert summary.complete
    assert answers(run) == before


def test_a_new_condition_is_added_to_the_run(dataset: Dataset, run: Path) -> None:
    run_fake(FakeModel(), dataset, run, CLEAN)
    model = FakeModel()
    run_fake(model, dataset, run, CONDITIONS[:2])
    assert sum(batch_sizes(model)) == 24
    assert read_run(run).meta["conditions"] == ["clean", "blank"]


def test_the_same_condition_twice_is_one(dataset: Dataset, run: Path) -> None:
    model = FakeModel()
    run_fake(model, dataset, run, [*CLEAN, *CLEAN])
    assert sum(batch_sizes(model)) == 24


def test_changed_pixels_are_asked_anew_and_counted_once(dataset: Dataset, run: Path) -> None:
    run_fake(FakeModel(), dataset, run, CLEAN)
    old = {row["item_id"]: row for row in answers(run)}
    (dataset.root / "3.png").write_bytes((dataset.root / "5.png").read_bytes())
    model = FakeModel()
    run_fake(model, dataset, run, CLEAN)
    assert model.batches == [["item3"]]
    new = {row["item_id"]: row for row in answers(run)}
    assert len(new) == 24
    assert new["item3"]["key"] != old["item3"]["key"]
    assert new["item3"]["image_sha256"] == new["item5"]["image_sha256"] == old["item5"]["image_sha256"]


def test_two_checkpoints_two_keys(dataset: Dataset, tmp_path: Path) -> None:
    run_fake(FakeModel(), dataset, tmp_path / "a")
    run_fake(FakeModel(weights_hash="x" * 64), dataset, tmp_path / "b")
    assert not {row["key"] for row in answers(tmp_path / "a")} & {row["key"] for row in answers(tmp_path / "b")}
    with pytest.raises(UserError, match="use another --out"):
        run_fake(FakeModel(weights_hash="x" * 64), dataset, tmp_path / "a")


def test_every_view_has_its_own_key(dataset: Dataset, run: Path) -> None:
    """Clean and attacked start from the same pixels; two seeds and two decodings differ too."""
    run_fake(FakeModel(), dataset, run)
    keys = [row["key"] for row in answers(run)]
    assert len(set(keys)) == len(keys)
    for number, options in enumerate([{"seed": 1}, {"decoding": Decoding(max_new_tokens=9)}]):
        other = run.with_name(f"other{number}")
        run_fake(FakeModel(), dataset, other, CLEAN, **options)
        assert not set(keys) & {row["key"] for row in answers(other)}


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), "cpu"])
@pytest.mark.parametrize("conditions", [CLEAN, ATTACK])
def test_out_of_memory_halves_the_batch_and_is_remembered(
    dataset: Dataset, run: Path, error: BaseException | str, conditions: Sequence[Condition]
) -> None:
    def fault(views: Sequence[View]) -> None:
        if len(views) > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory") if isinstance(error, str) else error

    model = FakeModel(fault=fault)
    summary = run_fake(model, dataset, run, conditions, batch_tokens=12 * COST, chunk=12)
    assert summary.errors == 0
    assert batch_sizes(model) == [12, 6, *([3] * 8)]
    run_fake(FakeModel(), dataset, run.with_name("free"), conditions)
    assert answers(run) == answers(run.with_name("free"))


def test_an_attack_out_of_memory_does_not_shrink_other_batches(dataset: Dataset, run: Path) -> None:
    def fault(views: Sequence[View]) -> None:
        if views[0].condition == "attack" and len(views) > 2:
            raise MemoryError

    model = FakeModel(fault=fault)
    run_fake(model, dataset, run, [*ATTACK, *CLEAN], chunk=24)
    assert batch_sizes(model) == [4, *([2] * 12), *([4] * 6)]


def test_out_of_memory_at_one_view_fails_that_view_alone(dataset: Dataset, run: Path) -> None:
    def fault(views: Sequence[View]) -> None:
        if any(view.item.id == "item4" for view in views):
            raise torch.OutOfMemoryError("too large")

    summary = run_fake(FakeModel(fault=fault), dataset, run, CLEAN)
    assert summary.errors == 1
    errors = {row["item_id"]: row["error"] for row in answers(run) if row["error"]}
    assert errors == {"item4": "OutOfMemoryError: too large"}


def test_a_poison_item_fails_alone_and_is_retried(dataset: Dataset, run: Path) -> None:
    def fault(views: Sequence[View]) -> None:
        if any(view.item.id == "item4" for view in views):
            raise ValueError("bad\ntemplate")

    model = FakeModel(fault=fault)
    summary = run_fake(model, dataset, run)
    assert [c.errors for c in summary.conditions.values()] == [1, 1, 1, 1, 1]
    assert not summary.complete
    assert "5 failed" in summary.message
    rows = answers(run)
    assert len(rows) == 4 * 24 + 16
    assert {(row["item_id"], row["error"]) for row in rows if row["error"]} == {("item4", "ValueError: bad template")}
    assert all(row["text"] == "" for row in rows if row["error"])

    model = FakeModel()
    summary = run_fake(model, dataset, run)
    assert model.batches == [["item4"]] * 5
    assert summary.complete
    run_fake(FakeModel(), dataset, run.with_name("healthy"))
    assert answers(run) == answers(run.with_name("healthy"))


@pytest.mark.parametrize("damage", ["truncated", "missing", "outside"])
def test_an_unreadable_image_is_an_error_of_its_item(dataset: Dataset, run: Path, damage: str, tmp_path: Path) -> None:
    path = dataset.root / "4.png"
    whole = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    if damage == "outside":
        (tmp_path / "secret.png").write_bytes(whole)
        path.symlink_to(tmp_path / "secret.png")
    summary = run_fake(FakeModel(), dataset, run, CLEAN)
    assert (summary.done, summary.errors) == (23, 1)
    (bad,) = [row for row in answers(run) if row["error"]]
    assert bad["item_id"] == "item4"
    assert "4.png" in bad["error"]
    assert "\n" not in bad["error"]

    path.unlink(missing_ok=True)
    path.write_bytes(whole)
    assert run_fake(FakeModel(), dataset, run, CLEAN).complete
    assert [row["error"] for row in answers(run)] == [None] * 24


def test_a_model_that_drops_replies_is_an_error_not_a_shift(dataset: Dataset, run: Path) -> None:
    class Dropping(FakeModel):
        def generate(self, views: Sequence[View], decoding: Decoding, seed: int = 0) -> list:  # type: ignore[type-arg]
            return super().generate([view for view in views if view.item.id != "item4"], decoding, seed)

    summary = run_fake(Dropping(), dataset, run, CLEAN)
    assert (summary.done, summary.errors) == (23, 1)
    (bad,) = [row for row in answers(run) if row["error"]]
    assert (bad["item_id"], bad["error"]) == ("item4", "RuntimeError: the model gave 0 replies to 1 views")


def test_option_logprobs_are_read_in_direct_mode(dataset: Dataset, run: Path) -> None:
    model = FakeScorer()
    run_fake(model, dataset, run, CLEAN)
    assert all(np.allclose(row["option_logprobs"], np.log([1 / 3] * 3)) for row in answers(run))
    assert model.prefixes is None
    for name, mode, forced in [("off", "direct", False), ("think", "think", None)]:
        other = run.with_name(name)
        run_fake(FakeScorer(), dataset, other, CLEAN, mode=mode, forced_choice=forced)
        assert [row["option_logprobs"] for row in answers(other)] == [None] * 24


def test_option_logprobs_of_a_reasoned_reply_are_read_at_its_answer(dataset: Dataset, run: Path) -> None:
    model = FakeScorer()
    run_fake(model, dataset, run, CLEAN, mode="think", forced_choice=True)
    assert model.prefixes is not None
    assert all(prefix.endswith("<answer>") for prefix in model.prefixes)
    assert {prefix.removesuffix("<answer>") for prefix in model.prefixes} <= {row["text"] for row in answers(run)}
    assert all(row["option_logprobs"] for row in answers(run))


def test_progress_is_told(dataset: Dataset, run: Path) -> None:
    run_fake(FakeModel(), dataset, run, CLEAN)
    seen: list[Progress] = []
    run_fake(FakeModel(delay=0.001), dataset, run, CONDITIONS, progress=seen.append)
    for condition in CONDITIONS:
        steps = [step for step in seen if step.condition == condition.key]
        assert [steps[0].done, steps[-1].done] == [0, 24]
        assert all(step.total == 24 for step in steps)
        assert all(a.done <= b.done and a.seconds <= b.seconds for a, b in itertools.pairwise(steps))
    last = {step.condition: step for step in seen}
    assert [last[c.key].skipped for c in CONDITIONS] == [24, 0, 0, 0, 8]
    assert last["clean"].seconds_left is None
    assert last["blank"].seconds_left == 0


def test_a_full_disk_stops_with_one_line_and_can_be_resumed(
    dataset: Dataset, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, room = os.write, 200_000

    def write(descriptor: int, data: bytes) -> int:
        nonlocal room
        room -= len(data)
        if room < 0:
            raise OSError(28, os.strerror(28))
        return real(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(UserError, match="disk full"):
            run_fake(FakeModel(), dataset, run)
    partial = answers(run)
    assert 0 < len(partial) < 4 * 24 + 16
    assert not list(run.rglob("*.tmp"))
    assert not list((run / "workers").iterdir())
    assert run_fake(FakeModel(), dataset, run).complete
    run_fake(FakeModel(), dataset, run.with_name("roomy"))
    assert answers(run) == answers(run.with_name("roomy"))


def test_the_next_chunk_is_prepared_while_the_model_works(dataset: Dataset, run: Path) -> None:
    model = FakeModel(delay=0.02)
    how = fake_conditions(dataset, 0, "direct", model.grid)
    times: list[float] = []

    def slow(condition: Condition, items: Sequence[Item], context: object) -> Sequence[View | None]:
        time.sleep(0.02)
        times.append(time.perf_counter())
        return how.prepare(condition, items, context)

    answered: list[float] = []
    model.fault = lambda views: answered.append(time.perf_counter())
    overlapping = type(how)(slow, how.needs_attack, how.perturb, None)
    run_fake(model, dataset, run, CLEAN, how=overlapping, chunk=8, batch_tokens=8 * COST, threads=2)
    assert times[1] < answered[0]  # the second chunk was ready before the first was answered


def test_it_needs_a_created_run(dataset: Dataset, run: Path) -> None:
    model = FakeModel()
    with pytest.raises(UserError, match="no run at"):
        evaluate(
            model,
            dataset,
            CLEAN,
            RunStore(run),
            mode="direct",
            seed=0,
            how=fake_conditions(dataset, 0, "direct", model.grid),
        )
    assert make_store(run, model, dataset).meta["conditions"] == []
    assert pixels_sha256(None) == "0" * 64


def test_the_conditions_of_the_package(dataset: Dataset, run: Path) -> None:
    names = ("clean", "blank", "noimage", "shuffled", "random_sign(8/255)")
    conditions = [resolve(name) for name in names]
    summary = run_fake(FakeModel(), dataset, run, conditions, how=None)
    assert summary.complete
    store = RunStore(run)
    rows = {(r.condition, r.item_id): r for r in store.responses()}
    assert len(rows) == 5 * 24 - sum(c.not_applicable for c in summary.conditions.values())
    clean, blank, noimage, _, signs = (condition.key for condition in conditions)
    assert rows[noimage, "item1"].image_sha256 == "0" * 64
    assert len({row.image_sha256 for (key, _), row in rows.items() if key == blank}) == 2  # one for each size
    pixels, signed = (store.image(rows[key, "item1"].image_sha256) for key in (clean, signs))
    assert pixels is not None
    assert signed is not None
    assert np.abs(signed.astype(int) - pixels).max() == 8


def test_a_condition_the_model_cannot_run_is_refused_before_any_work(dataset: Dataset, run: Path) -> None:
    model = FakeModel()
    with pytest.raises(UserError, match="needs gradients"):
        run_fake(model, dataset, run, [*CLEAN, resolve("pgd(linf,8/255,20)")], how=None)
    assert model.batches == []
