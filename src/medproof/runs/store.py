"""The run directory as one object: create or reopen, claim, append, read. See the package for the layout on disk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from medproof.errors import UserError
from medproof.records import Item, Response
from medproof.runs.atomic import disk_errors, temporary_name, write_bytes
from medproof.runs.claims import Claims
from medproof.runs.images import Images, Pixels
from medproof.runs.locks import exclusive
from medproof.runs.meta import Meta, merged, normal, read_meta, refuse_other, write_meta
from medproof.runs.sanity_file import read_sanity
from medproof.runs.shards import Shards
from medproof.runs.tables import items_from_table, items_to_bytes, responses_from_table


@dataclass(frozen=True)
class RunData:
    """A run as scoring and reporting read it: one response per item and condition, in order of conditions and items.

    `sanity`: the content of sanity.json; None where the attacks were never checked.
    """

    meta: Meta
    items: tuple[Item, ...]
    responses: tuple[Response, ...]
    path: Path
    sanity: Mapping[str, Any] | None = None


class RunStore:
    """A run directory. Making the object touches nothing; `create` makes or reopens the run.

    Any number of processes may have the same run open. One object belongs to one thread.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock = self.path / "store.lock"
        self._claims = Claims(self.path)
        self._shards = Shards(self.path)
        self._images = Images(self.path)
        self._known_shards: set[str] = set()
        self._present: set[str] = set()

    # -- what the run is ------------------------------------------------------------------------------------------

    def create(self, meta: Meta, items: Sequence[Item]) -> Self:
        """Make the run, or reopen it and add the conditions of `meta`.

        Raises UserError where the folder holds a run of another model, data, mode, seed, decoding or grid.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file: give a folder as --out")
        new = normal(meta)
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if (self.path / "run.json").exists():
                old = read_meta(self.path)
                refuse_other(self.path, old, new)
                self._replace_meta(old, merged(old, new))
            else:  # run.json comes last: a run without it was never begun
                write_bytes(self.path / "items.parquet", items_to_bytes(items), tag="store")
                write_meta(self.path, new)
        return self

    @property
    def meta(self) -> Meta:
        """run.json, read afresh. Raises UserError where the folder is no run."""
        return read_meta(self.path)

    def update_meta(self, change: Callable[[Meta], Meta]) -> None:
        """Replace run.json by `change` of it, safely beside other processes."""
        with self._locked():
            old = read_meta(self.path)
            self._replace_meta(old, change(old))

    def items(self) -> tuple[Item, ...]:
        """The questions of the run, in the order they were given."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        file = self.path / "items.parquet"
        try:
            return tuple(items_from_table(pq.read_table(pa.BufferReader(file.read_bytes()))))
        except FileNotFoundError:
            raise UserError(f"{self.path} is not a whole run: items.parquet is missing; use another --out") from None
        except (pa.ArrowException, ValueError, OSError) as error:
            raise UserError(f"{file} is damaged: restore it or use another --out") from error

    # -- responses ------------------------------------------------------------------------------------------------

    def append(self, responses: Sequence[Response], images: Mapping[str, Pixels] | None = None) -> None:
        """Add responses and the images they name by SHA-256: all of them or, on any failure, none.

        Images come first, so that a response on disk has its image. Raises UserError on a full disk.
        """
        if images:
            self._images.write(images, self.worker)
        if responses:
            self._known_shards.add(self._shards.append(responses, self.worker))
            self._present.update(response.key for response in responses if response.error is None)

    def present_keys(self) -> set[str]:
        """Keys that have a good response. Those with only an `error` are absent: they are tried again."""
        while not self._learn(self._shards.names()):
            continue  # a shard was compacted away since it was listed: its rows now lie under another name
        return set(self._present)

    def responses(self) -> list[Response]:
        """One response per item and condition, the newest good one, else the newest error; in the order of the run's
        conditions and items, whatever the order in which they were made."""
        conditions = {key: rank for rank, key in enumerate(self.meta.get("conditions", []))}
        items = {item.id: rank for rank, item in enumerate(self.items())}
        return _in_order(responses_from_table(self._shards.read()), conditions, items)

    def image(self, sha: str) -> Pixels | None:
        """uint8 (H, W, 3) by `pixels_sha256`, or None. Raises UserError where the file is damaged."""
        return self._images.read(sha)

    def image_path(self, sha: str) -> Path:
        """Where the PNG of `sha` lies (or would)."""
        return self._images.path(sha)

    def compact(self, at_least: int = 2) -> int:
        """Merge small shards where there are `at_least` of them; returns how many. Safe beside readers and writers."""
        with self._locked():
            _remove_temporary(self._shards.folder, "store")  # of a compaction that died; the lock is ours now
            return self._shards.compact(at_least)

    # -- workers --------------------------------------------------------------------------------------------------

    @property
    def worker(self) -> str:
        """The name under which this object holds claims; asking for it makes it a worker."""
        if not self._claims.entered:
            with self._locked():
                self._claims.enter(self._clean_after)
        return self._claims.worker

    def claim(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that are now this worker's to do: not present, and claimed by no living worker."""
        _ = self.worker
        with self._locked():
            won = self._claims.free(keys)
            # Listed after the claims were read: a worker found dead has no shard still to come.
            self._learn(self._shards.names_locked())
            won = [key for key in dict.fromkeys(won) if key not in self._present]
            if won:
                self._claims.take(won)
        return won

    def other_workers(self) -> int:
        """How many other processes (or objects) are working on this run now."""
        with self._locked():
            return self._claims.others()

    def release(self) -> None:
        """Give up all claims. The object can go on: it becomes a new worker when it claims again."""
        if self._claims.entered:
            with self._locked():
                self._claims.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    # -- inside ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        if not self.path.is_dir():
            raise UserError(f"no run at {self.path}: the folder does not exist; check the path given")
        with exclusive(self._lock):
            yield

    def _replace_meta(self, old: Meta, new: Meta) -> None:
        if new != old:
            write_meta(self.path, new)

    def _learn(self, names: Sequence[str]) -> bool:
        """Take in the keys of shards not read yet; False where one was gone."""
        whole = True
        for name in names:
            if name not in self._known_shards:
                try:
                    self._present |= self._shards.keys(name)
                except FileNotFoundError:
                    whole = False
                self._known_shards.add(name)
        return whole

    def _clean_after(self, worker: str) -> None:
        """Remove the half-written files of a dead worker."""
        for folder in (self._shards.folder, self._images.folder):
            _remove_temporary(folder, worker)


def _remove_temporary(folder: Path, tag: str) -> None:
    for path in folder.glob(temporary_name(folder / "*", tag).name):
        path.unlink(missing_ok=True)


def read_run(path: Path | str) -> RunData:
    """Read a whole run. Raises UserError on a folder that is no run. Writes nothing."""
    store = RunStore(path)
    meta, items = store.meta, store.items()
    return RunData(
        meta=meta,
        items=items,
        responses=tuple(store.responses()),
        path=store.path,
        sanity=read_sanity(store.path),
    )


def _in_order(rows: list[Response], conditions: Mapping[str, int], items: Mapping[str, int]) -> list[Response]:
    def place(row: Response) -> tuple[int, str, int, str]:
        condition = conditions.get(row.condition, len(conditions))
        return condition, row.condition, items.get(row.item_id, len(items)), row.item_id

    return sorted(rows, key=place)
