import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from medproof.records import Response
from medproof.runs.store import RunStore

HOLDER = """
import sys
from medproof.runs.store import RunStore
store = RunStore(sys.argv[1])
print(" ".join(store.claim(sys.argv[2].split(","))), flush=True)
sys.stdin.readline()
store.release()
"""


class Holder:
    """Another process that claims keys and holds them until told."""

    def __init__(self, run: Path, keys: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(run), keys], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.won = self.process.stdout.readline().split()

    def end(self) -> None:
        self.process.communicate("\n", timeout=20)

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def hold(store: RunStore) -> Iterator[Callable[[str], Holder]]:
    holders: list[Holder] = []

    def start(keys: str) -> Holder:
        holders.append(Holder(store.path, keys))
        return holders[-1]

    yield start
    for holder in holders:
        if holder.process.poll() is None:
            holder.kill()
        for pipe in (holder.process.stdin, holder.process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()


def life_locks(store: RunStore) -> list[str]:
    return sorted(path.name for path in (store.path / "workers").glob("*.lock"))


def test_a_key_is_won_once(store: RunStore) -> None:
    assert store.claim(["a", "b", "a"]) == ["a", "b"]
    assert store.claim(["b", "c"]) == ["c"]
    other = RunStore(store.path)
    assert other.claim(["a", "b", "c", "d"]) == ["d"]
    assert store.other_workers() == other.other_workers() == 1


def test_release_frees_claims_and_removes_the_life_lock(store: RunStore) -> None:
    other = RunStore(store.path)
    assert store.claim(["a", "b"]) == ["a", "b"]
    assert other.claim(["a"]) == []
    store.release()
    assert other.claim(["a"]) == ["a"]
    assert life_locks(store) == [f"{other.worker}.lock"]
    store.release()  # a second time is harmless
    assert store.claim(["a", "b"]) == ["b"]


def test_present_keys_are_not_won(store: RunStore, make_response: Callable[..., Response]) -> None:
    other = RunStore(store.path)
    other.append([make_response(1), make_response(2, error="failed")])
    other.release()
    assert store.claim(["clean-1", "clean-2"]) == ["clean-2"]


def test_a_living_process_keeps_its_claims_until_it_ends(store: RunStore, hold: Callable[[str], Holder]) -> None:
    holder = hold("a,b")
    assert holder.won == ["a", "b"]
    assert store.claim(["a", "c"]) == ["c"]
    holder.end()
    assert store.claim(["a"]) == ["a"]


def test_kill_9_voids_the_claims(store: RunStore, hold: Callable[[str], Holder]) -> None:
    holder = hold("a,b")
    assert store.claim(["a"]) == []
    holder.kill()
    assert store.claim(["a"]) == ["a"]
    assert store.claim(["a", "b"]) == ["b"]


def test_what_a_killed_worker_left_half_written_is_removed(store: RunStore, hold: Callable[[str], Holder]) -> None:
    holder = hold("a")
    (name,) = life_locks(store)
    dead, image_folder = name.removesuffix(".lock"), store.path / "images"
    image_folder.mkdir()
    (store.path / "responses").mkdir()
    half = [store.path / "responses" / f".1.parquet.{dead}.tmp", image_folder / f".abc.png.{dead}.tmp"]
    for path in half:
        path.write_bytes(b"half")
    alive = RunStore(store.path)
    assert alive.worker
    assert all(path.exists() for path in half)  # its writer still lives
    holder.kill()
    assert store.responses() == []
    assert store.worker
    assert not any(path.exists() for path in half)
    assert life_locks(store) == sorted([f"{alive.worker}.lock", f"{store.worker}.lock"])


def test_a_torn_line_of_the_log_harms_nobody(store: RunStore, hold: Callable[[str], Holder]) -> None:
    assert store.claim(["a"]) == ["a"]
    log = store.path / "claims.log"
    for torn in (b'{"keys": ["b"', b'{"keys": 5}\n', b"\xff\n", b'{"keys": ["c"], "wor'):
        with log.open("ab") as file:
            file.write(torn)
    assert store.claim(["b", "c"]) == ["b", "c"]
    assert RunStore(store.path).claim(["a", "b", "c"]) == []


def test_the_log_starts_anew_when_nobody_is_left(store: RunStore) -> None:
    store.claim([str(n) for n in range(1000)])
    store.release()
    store.claim(["a"])
    assert (store.path / "claims.log").stat().st_size < 100


def test_the_store_lock_is_never_deleted(store: RunStore) -> None:
    lock = store.path / "store.lock"
    before = lock.stat().st_ino
    store.claim(["a"])
    store.compact()
    store.release()
    RunStore(store.path).claim(["a"])
    assert lock.stat().st_ino == before
