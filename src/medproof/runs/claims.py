"""Who works on which keys: an append-only log, and one life lock per worker.

A line of the log is `{"keys": [...], "worker": "..."}`. A claim holds while its worker's life lock is held; a worker
that ends, by release or by kill -9, frees all its claims at that moment and needs to write nothing. A line torn by a
crash belongs to a dead worker and is passed over.

Every method runs under the store's exclusive lock.
"""

import json
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from medproof.runs.atomic import disk_errors, write_all
from medproof.runs.locks import LifeLock, is_held


class Claims:
    """The claims of one run as seen by one worker."""

    def __init__(self, run: Path) -> None:
        self._log = run / "claims.log"
        self._workers = run / "workers"
        self._life: LifeLock | None = None
        self._offset = 0
        self._holder: dict[str, str] = {}
        self.worker = ""

    def enter(self, clean: Callable[[str], None]) -> None:
        """Become a worker. `clean(worker)` removes what a dead worker left half-written; then its lock file goes.

        With no other worker alive every claim is void, and the log starts anew.
        """
        with disk_errors(self._workers):
            self._workers.mkdir(exist_ok=True)
            for path in sorted(self._workers.glob("*.lock")):
                if not is_held(path):
                    clean(path.stem)
                    path.unlink(missing_ok=True)
            if self._log.exists() and not self.others():
                os.truncate(self._log, 0)
        self.worker = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._life = LifeLock(self._workers / f"{self.worker}.lock")
        self._offset = 0
        self._holder = {}

    def leave(self) -> None:
        """Free all claims of this worker."""
        if self._life is not None:
            self._life.release()
            self._life = None

    @property
    def entered(self) -> bool:
        return self._life is not None

    def others(self) -> int:
        """How many other workers are alive."""
        paths = (path for path in self._workers.glob("*.lock") if not self.entered or path.stem != self.worker)
        return sum(is_held(path) for path in paths)

    def free(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that no living worker (this one included) has claimed, in order."""
        self._read()
        alive: dict[str, bool] = {self.worker: True}
        won = []
        for key in keys:
            holder = self._holder.get(key)
            if holder is not None and holder not in alive:
                alive[holder] = is_held(self._workers / f"{holder}.lock")
            if holder is None or not alive[holder]:
                won.append(key)
        return won

    def take(self, keys: Sequence[str]) -> None:
        """Write down that this worker has `keys`."""
        line = json.dumps({"keys": list(keys), "worker": self.worker}, sort_keys=True).encode() + b"\n"
        with disk_errors(self._log):
            descriptor = os.open(self._log, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            try:
                if _is_torn(descriptor):
                    line = b"\n" + line
                write_all(descriptor, line)
            finally:
                os.close(descriptor)

    def _read(self) -> None:
        """Take in the lines written since the last call; a torn last line stays for the next call."""
        try:
            with self._log.open("rb") as log:
                log.seek(self._offset)
                new = log.read()
        except FileNotFoundError:
            return
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            for key, worker in _claims_of(line):
                self._holder[key] = worker


def _is_torn(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def _claims_of(line: bytes) -> list[tuple[str, str]]:
    try:
        row = json.loads(line)
        return [(str(key), str(row["worker"])) for key in row["keys"]]
    except (ValueError, KeyError, TypeError):
        return []  # torn by a crash: its worker is dead
