"""The log of votes: append-only rows (item, sigma, draw range, votes), from which every certificate follows.

    RUN/counts/WORKER.jsonl   one row per line; a line is on disk (fsync) before the votes count for anything

A row holds its votes one by one in the order of the draws, a letter each ("-" for unparsed), so that any plan, bound
and alpha can be looked into later. Draw d of a stream is always the same draw: ranges that overlap, as when a worker
is killed between its write and its next look, are counted once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from medproof.errors import UserError
from medproof.records import LETTERS
from medproof.runs.atomic import disk_errors, fsync_folder, write_all

FOLDER = "counts"
_NO_OPTION = "-"


@dataclass(frozen=True)
class Stream:
    """What votes are asked of: one item under one noise. `key`: of all that decides the votes, weights included.

    `image`: SHA-256 of the pixels, (height, width, 3) of them; streams with the same one and the same sigma share their
    noise.
    """

    key: str
    item_id: str
    image: str
    height: int
    width: int
    sigma: float
    base: str
    rounded: bool


@dataclass(frozen=True)
class Row:
    """The votes of draws `first` to `first + len(votes) - 1` of a stream."""

    stream: Stream
    first: int
    votes: str


def written(votes: Iterable[int], options: int) -> str:
    """Class indices as text: the letters of the options, `-` for the class behind them."""
    symbols = LETTERS[:options] + _NO_OPTION
    return "".join(symbols[vote] for vote in votes)


def labels(votes: str, classes: Sequence[str]) -> list[str]:
    """The class of each vote of `written`."""
    name = dict(zip(LETTERS, classes, strict=False)) | {_NO_OPTION: classes[-1]}
    return [name[symbol] for symbol in votes]


class CountLog:
    """The rows of one run, as far as `refresh` has read them. Several processes may append, each as a worker."""

    def __init__(self, run: Path) -> None:
        self._folder = run / FOLDER
        self._offsets: dict[str, int] = {}
        self._streams: dict[str, Stream] = {}
        self._parts: dict[str, dict[int, str]] = {}

    def append(self, rows: Sequence[Row], worker: str) -> None:
        """Add rows: all of them are on disk when this returns, or none is. Raises UserError on a full disk."""
        lines = b"".join(_line(row) for row in rows)
        path = self._folder / f"{worker}.jsonl"
        with disk_errors(path):
            self._folder.mkdir(exist_ok=True)
            new = not path.exists()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            size = os.fstat(descriptor).st_size
            try:
                write_all(descriptor, lines)
                os.fsync(descriptor)
            except BaseException:
                os.ftruncate(descriptor, size)
                raise
            finally:
                os.close(descriptor)
            if new:
                fsync_folder(self._folder)

    def refresh(self) -> None:
        """Take in what was appended since, by anyone. Raises UserError where a file is damaged."""
        for path in sorted(self._folder.glob("*.jsonl")):
            offset = self._offsets.get(path.name, 0)
            with path.open("rb") as file:
                file.seek(offset)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]  # a last line without its end was torn by a crash
            self._offsets[path.name] = offset + len(whole)
            for line in whole.splitlines():
                self._take(line, path)

    def votes(self, key: str) -> str:
        """All votes of a stream from draw 0 on, up to the first draw that is missing."""
        found = ""
        for first, votes in sorted(self._parts.get(key, {}).items()):
            if first > len(found):
                break
            found += votes[len(found) - first :]
        return found

    def streams(self) -> list[Stream]:
        """Every stream, of each item, sigma and base classifier the one that was begun last."""
        newest = {(s.item_id, s.sigma, s.base, s.rounded): s for s in self._streams.values()}
        return list(newest.values())

    def _take(self, line: bytes, path: Path) -> None:
        try:
            row = json.loads(line)
            first, votes = int(row.pop("first")), str(row.pop("votes"))
            if int(row.pop("count")) != len(votes):
                raise ValueError("votes and count differ")
            stream = Stream(**row)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} is damaged: move it away and run the same command again to redo its draws"
            ) from error
        self._streams.setdefault(stream.key, stream)
        known = self._parts.setdefault(stream.key, {})
        if len(votes) > len(known.get(first, "")):
            known[first] = votes


def _line(row: Row) -> bytes:
    content: Mapping[str, object] = {
        **asdict(row.stream),
        "first": row.first,
        "count": len(row.votes),
        "votes": row.votes,
    }
    return json.dumps(content, sort_keys=True, ensure_ascii=False).encode() + b"\n"
