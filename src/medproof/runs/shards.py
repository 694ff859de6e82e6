"""Append-only shards of responses, and their compaction.

A shard is one Parquet file, written whole (`runs.atomic`) and never changed. Its name starts with the time it was
written, so that names sort from old to new. Compaction writes one shard with the rows of many, then deletes those; a
crash in between leaves rows twice on disk, and readers count one row per key. Readers list the folder under the store's
shared lock, compaction holds it alone, so that no listing falls in the middle of one.

What a reader is given (`rows_that_count`): per key one response, a good one before an `error`; and per item and
condition one response, the newest good one, so that an `error` is superseded by a later success under whatever key.
"""

import secrets
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medproof.errors import UserError
from medproof.records import Response
from medproof.runs.atomic import disk_errors, fsync_folder, write_bytes
from medproof.runs.locks import shared
from medproof.runs.tables import response_schema, responses_to_bytes, table_to_bytes

if TYPE_CHECKING:
    import pyarrow as pa

_RETRIES = 20
LARGE = 64 * 2**20
"""Shards of at least this many bytes are left as they are."""


class Shards:
    """The shards of one run."""

    def __init__(self, run: Path) -> None:
        self.folder = run / "responses"
        self._lock = run / "store.lock"

    def names(self) -> list[str]:
        """Shards on disk, old to new. Waits for a compaction under way; call it without the store's lock."""
        with shared(self._lock):
            return self.names_locked()

    def names_locked(self) -> list[str]:
        """The same, for a caller that holds the store's lock."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.glob("*.parquet") if not path.name.startswith("."))

    def append(self, responses: Sequence[Response], worker: str) -> str:
        """Write one shard; returns its name. Raises UserError on a full disk, with nothing changed."""
        name = f"{time.time_ns():020d}-{worker}-{secrets.token_hex(2)}.parquet"
        with disk_errors(self.folder):
            self.folder.mkdir(exist_ok=True)
        write_bytes(self.folder / name, responses_to_bytes(responses), tag=worker)
        return name

    def read(self) -> "pa.Table":
        """One table of the responses that count (see `rows_that_count`), old to new."""
        for _ in range(_RETRIES):
            try:
                tables = [self.table(name) for name in self.names()]
            except FileNotFoundError:
                continue  # compacted between listing and reading: list again
            return rows_that_count(_concat(tables))
        raise UserError(f"{self.folder} changes faster than it can be read: wait for its workers to end")

    def keys(self, name: str) -> set[str]:
        """Keys of the good responses of one shard. FileNotFoundError once it is compacted away."""
        table = self.table(name, columns=["key", "error"])
        pairs = zip(table.column("key").to_pylist(), table.column("error").to_pylist(), strict=True)
        return {key for key, error in pairs if error is None}

    def table(self, name: str, columns: list[str] | None = None) -> "pa.Table":
        """The Parquet table of one shard. Raises UserError where it is damaged."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / name
        data = path.read_bytes()
        try:
            return pq.read_table(pa.BufferReader(data), columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{path} is damaged: move it away and run the same command again to redo its items"
            ) from error

    def compact(self, at_least: int = 2, large: int = LARGE) -> int:
        """Merge small shards into one where there are `at_least` of them. Returns how many were merged.

        The caller holds the store's lock alone. Only shards after the last large one are merged, and the merged shard
        takes the newest one's place, so that the order from old to new stays.
        """
        small: list[str] = []
        for name in self.names_locked():
            small = [*small, name] if (self.folder / name).stat().st_size < large else []
        if len(small) < max(at_least, 2):
            return 0
        table = one_row_per_key(_concat([self.table(name) for name in small]))
        merged = f"{small[-1].removesuffix('.parquet')}-m{secrets.token_hex(2)}.parquet"
        write_bytes(self.folder / merged, table_to_bytes(table), tag="store")
        with disk_errors(self.folder):
            for name in small:
                (self.folder / name).unlink(missing_ok=True)
            fsync_folder(self.folder)
        return len(small)


def _concat(tables: "Sequence[pa.Table]") -> "pa.Table":
    import pyarrow as pa

    return pa.concat_tables([response_schema().empty_table(), *tables], promote_options="default")


def _take(table: "pa.Table", rows: Iterable[int]) -> "pa.Table":
    import pyarrow as pa

    return table.take(pa.array(sorted(rows), type=pa.int64()))


def one_row_per_key(table: "pa.Table") -> "pa.Table":
    """The first good row of each key, or its last error; rows go from old to new."""
    errors = table.column("error").to_pylist()
    chosen: dict[str, int] = {}
    for row, key in enumerate(table.column("key").to_pylist()):
        if key not in chosen or errors[chosen[key]] is not None:
            chosen[key] = row
    return _take(table, chosen.values())


def rows_that_count(table: "pa.Table") -> "pa.Table":
    """One row per item and condition: the newest good one, else the newest error; rows go from old to new."""
    table = one_row_per_key(table)
    errors = table.column("error").to_pylist()
    places = zip(table.column("item_id").to_pylist(), table.column("condition").to_pylist(), strict=True)
    chosen: dict[tuple[str, str], int] = {}
    for row, place in enumerate(places):
        if place not in chosen or errors[chosen[place]] is not None or errors[row] is None:
            chosen[place] = row
    return _take(table, chosen.values())
