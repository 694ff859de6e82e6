"""kill -9, signals, and two processes at once."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_evaluation import CONDITIONS, COST, FakeModel, answers, make_dataset, run_fake

from medproof.datasets import Dataset
from medproof.runs.shards import Shards
from medproof.runs.store import RunStore

PROGRAM = Path(__file__).with_name("fake_evaluation.py")
BATCH = 4
ITEMS = 15
TOTAL = 4 * ITEMS + 10
PATIENCE = 120  # seconds; a test machine may be busy


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    folder = tmp_path / "data"
    folder.mkdir()
    return make_dataset(folder, ITEMS)


@pytest.fixture
def undisturbed(dataset: Dataset, tmp_path: Path) -> list[dict[str, object]]:
    run_fake(FakeModel(), dataset, tmp_path / "undisturbed")
    return answers(tmp_path / "undisturbed")


def start(dataset: Dataset, run: Path, delay: float = 0.02) -> subprocess.Popen[str]:
    arguments = [str(dataset.root), str(run), str(delay), str(BATCH * COST), "8", str(ITEMS)]
    return subprocess.Popen([sys.executable, str(PROGRAM), *arguments], stdout=subprocess.PIPE, text=True)


def calls(run: Path) -> list[str]:
    log = run.with_name(f"{run.name}.log")
    return log.read_text().splitlines() if log.exists() else []


def wait_for_calls(run: Path, process: subprocess.Popen[str], at_least: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(calls(run)) < at_least and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def rows_on_disk(run: Path) -> list[str]:
    reader = Shards(run)
    return [key for name in reader.names() for key in reader.table(name).column("key").to_pylist()]


def test_killed_at_six_moments_and_resumed(
    dataset: Dataset, tmp_path: Path, undisturbed: list[dict[str, object]]
) -> None:
    run, moments, kills = tmp_path / "run", random.Random(5), 0
    for _ in range(6):
        process = start(dataset, run)
        wait_for_calls(run, process, len(calls(run)) + moments.randint(1, 8))
        time.sleep(moments.uniform(0, 0.04))  # somewhere between answering, writing images and writing the shard
        if process.poll() is None:
            kills += 1
        process.kill()
        process.communicate()
        stored = rows_on_disk(run)
        assert len(stored) == len(set(stored))
        assert len(calls(run)) - len(stored) <= kills * BATCH
    assert kills >= 4
    final = start(dataset, run, delay=0)
    assert final.communicate(timeout=PATIENCE)[0].strip().startswith(f"{TOTAL - len(stored)} answered")
    assert answers(run) == undisturbed
    assert sorted(rows_on_disk(run)) == sorted(str(row["key"]) for row in undisturbed)
    lost = len(calls(run)) - TOTAL  # asked again: at most the batch in flight at each kill
    assert 0 <= lost <= kills * BATCH
    assert not list(run.rglob("*.tmp"))
    assert not list((run / "workers").iterdir())


def test_two_processes_do_each_item_once(
    dataset: Dataset, tmp_path: Path, undisturbed: list[dict[str, object]]
) -> None:
    run = tmp_path / "run"
    processes = [start(dataset, run, delay=0.03) for _ in range(2)]
    for process in processes:
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    assert Counter(calls(run)) == Counter(f"{row['condition']} {row['item_id']}" for row in undisturbed)
    assert answers(run) == undisturbed
    assert sorted(rows_on_disk(run)) == sorted(str(row["key"]) for row in undisturbed)
    assert len({response.worker for response in RunStore(run).responses()}) == 2


def test_a_worker_takes_over_what_a_killed_one_had_claimed(
    dataset: Dataset, tmp_path: Path, undisturbed: list[dict[str, object]]
) -> None:
    run = tmp_path / "run"
    slow = start(dataset, run, delay=60)
    wait_for_calls(run, slow, 1)
    batches = 0

    def kill_at_the_third_batch(views: object) -> None:
        nonlocal batches
        batches += 1
        if batches == 3:
            slow.kill()
            slow.communicate()

    summary = run_fake(FakeModel(fault=kill_at_the_third_batch), dataset, run)
    assert batches >= 3
    assert summary.complete
    assert answers(run) == undisturbed


@pytest.fixture(autouse=True)
def sigint_is_heard() -> Iterator[None]:
    """A test run started in the background inherits an ignored SIGINT, and so would its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_resumable_run(
    dataset: Dataset, tmp_path: Path, undisturbed: list[dict[str, object]], number: signal.Signals
) -> None:
    run = tmp_path / "run"
    process = start(dataset, run)
    wait_for_calls(run, process, 9)
    process.send_signal(number)
    message = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 3
    assert message.startswith("interrupted: ")
    assert message.strip().endswith("run the same command again to go on")
    stored = len(answers(run))
    assert 4 <= stored < TOTAL
    assert not list(run.rglob("*.tmp"))
    assert not list((run / "workers").iterdir())
    model = FakeModel()
    assert run_fake(model, dataset, run).complete
    assert sum(map(len, model.batches)) == TOTAL - stored
    assert answers(run) == undisturbed


def test_a_signal_while_appending_waits_for_the_append(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch that was being written is on disk whole, and counted."""
    real = Shards.append

    def append(self: Shards, *arguments: object) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return real(self, *arguments)  # type: ignore[arg-type]

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Shards, "append", append)
        summary = run_fake(FakeModel(), dataset, tmp_path / "run", CONDITIONS[:1])
    assert summary.interrupted
    assert summary.done == len(answers(tmp_path / "run")) == BATCH
    assert signal.getsignal(signal.SIGINT) is before


def test_an_ignored_signal_stays_ignored(dataset: Dataset, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        model = FakeModel(fault=lambda views: os.kill(os.getpid(), signal.SIGINT))
        assert run_fake(model, dataset, tmp_path / "run", CONDITIONS[:1]).complete
    finally:
        signal.signal(signal.SIGINT, before)
