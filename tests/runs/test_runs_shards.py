import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from medproof.records import Response
from medproof.runs.shards import Shards
from medproof.runs.store import RunStore, read_run

MakeResponse = Callable[..., Response]


def shards(store: RunStore) -> list[str]:
    return sorted(path.name for path in (store.path / "responses").iterdir())


def raw_keys(store: RunStore) -> list[str]:
    """Every row on disk, not deduplicated."""
    reader = Shards(store.path)
    return sorted(key for name in reader.names() for key in reader.table(name).column("key").to_pylist())


@pytest.fixture
def filled(store: RunStore, make_response: MakeResponse) -> RunStore:
    """Six items in six shards, one of them an error that a later shard makes good."""
    store.append([make_response(0, error="failed")])
    for number in range(6):
        store.append([make_response(number, text=f"text {number}")])
    return store


def test_compaction_changes_no_answer(filled: RunStore) -> None:
    before = filled.responses()
    assert filled.compact() == 7
    assert len(shards(filled)) == 1
    assert filled.responses() == before
    assert raw_keys(filled) == sorted(f"clean-{n}" for n in range(6))
    assert RunStore(filled.path).present_keys() == {f"clean-{n}" for n in range(6)}
    assert filled.compact() == 0


def test_few_or_large_shards_are_left(filled: RunStore) -> None:
    assert filled.compact(at_least=8) == 0
    assert Shards(filled.path).compact(large=1) == 0
    assert len(shards(filled)) == 7


def test_order_from_old_to_new_survives_compaction(store: RunStore, make_response: MakeResponse) -> None:
    for key in ("first", "second", "third"):
        store.append([make_response(1, key=key)])
    store.compact()
    assert [r.key for r in store.responses()] == ["third"]
    store.append([make_response(1, key="fourth")])
    assert [r.key for r in store.responses()] == ["fourth"]


@pytest.mark.parametrize("deleted", range(8))
def test_a_crash_between_the_deletions_of_a_compaction(
    filled: RunStore, monkeypatch: pytest.MonkeyPatch, deleted: int
) -> None:
    """kill -9 after the merged shard is in place and `deleted` of its inputs are gone."""
    before = filled.responses()
    real = Path.unlink
    count = 0

    class KilledError(BaseException):
        pass

    def unlink(path: Path, missing_ok: bool = False) -> None:
        nonlocal count
        if path.suffix == ".parquet":
            if count == deleted:
                raise KilledError
            count += 1
        real(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        if deleted < 7:
            with pytest.raises(KilledError):
                filled.compact()
        else:
            filled.compact()
    assert len(shards(filled)) == 8 - min(deleted, 7)
    assert filled.responses() == before
    assert RunStore(filled.path).present_keys() == {r.key for r in before}
    filled.compact()
    assert filled.responses() == before
    assert raw_keys(filled) == sorted(r.key for r in before)


def test_a_crash_before_the_merged_shard_is_in_place(filled: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before, names = filled.responses(), shards(filled)

    def killed(*args: object) -> None:
        os._exit(9)

    child = os.fork()
    if child == 0:
        monkeypatch.setattr(os, "replace", killed)
        filled.compact()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 9
    left = [name for name in shards(filled) if name not in names]
    assert len(left) == 1
    assert left[0].endswith(".store.tmp")
    assert filled.responses() == before
    filled.compact()
    assert filled.responses() == before
    assert len(shards(filled)) == 1


def test_readers_see_everything_while_shards_are_compacted(store: RunStore, make_response: MakeResponse) -> None:
    """A writer appends and compacts without pause; what a reader has once seen it never loses."""
    stop = threading.Event()
    failures: list[str] = []
    written = 0

    def read() -> None:
        reader = RunStore(store.path)
        rounds = 0
        while not stop.is_set() or rounds == 0:
            at_least, rounds = written, rounds + 1
            try:
                seen = min(len(reader.responses()), len(reader.present_keys()))
            except Exception as error:
                failures.append(repr(error))
                return
            if seen < at_least:
                failures.append(f"{seen} of {at_least}")

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(60):
        store.append([make_response(number)])
        written = number + 1
        if number % 3 == 2:
            store.compact()
    stop.set()
    thread.join()
    assert failures == []
    assert len(read_run(store.path).responses) == 60


def test_a_store_that_knew_the_old_shards_keeps_their_keys(filled: RunStore, make_response: MakeResponse) -> None:
    reader = RunStore(filled.path)
    assert len(reader.present_keys()) == 6
    filled.compact()
    filled.append([make_response(7)])
    assert len(reader.present_keys()) == 7
