"""The log of votes: whole or not at all, each draw counted once, letters there and back."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medproof.errors import UserError
from medproof.smoothing.counts import FOLDER, CountLog, Row, Stream, labels, written

STREAM = Stream("k", "item", "sha", 28, 28, 0.25, "option_argmax", False)


def log_of(run: Path) -> CountLog:
    log = CountLog(run)
    log.refresh()
    return log


@given(st.lists(st.integers(0, 3), max_size=20))
def test_letters_there_and_back(votes: list[int]) -> None:
    classes = ("CT", "MRI", "X-ray", "unparsed")
    assert labels(written(votes, 3), classes) == [classes[vote] for vote in votes]


def test_what_was_appended_is_read_by_anyone(tmp_path: Path) -> None:
    writer, reader = CountLog(tmp_path), CountLog(tmp_path)
    writer.append([Row(STREAM, 0, "AB")], "w1")
    reader.refresh()
    assert reader.votes("k") == "AB"
    CountLog(tmp_path).append([Row(STREAM, 2, "-A")], "w2")
    reader.refresh()
    assert reader.votes("k") == "AB-A"
    assert reader.votes("another") == ""
    assert reader.streams() == [STREAM]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 8)), max_size=8))
def test_any_ranges_in_any_order_count_each_draw_once(ranges: list[tuple[int, int]]) -> None:
    whole = "ABBAABABBBAABABAABBA"
    log = CountLog(Path("nowhere"))
    present = set()
    for first, count in ranges:
        log._take(line(first, whole[first : first + count]), Path("f"))
        present |= set(range(first, first + count))
    length = next(n for n in range(len(whole) + 1) if n not in present)
    assert log.votes("k") == whole[:length]


def line(first: int, votes: str) -> bytes:
    row = {"key": "k", "item_id": "item", "image": "sha", "height": 28, "width": 28, "sigma": 0.25}
    rest = {"base": "option_argmax", "rounded": False, "first": first, "count": len(votes), "votes": votes}
    return json.dumps(row | rest).encode()


def test_a_torn_last_line_is_not_there(tmp_path: Path) -> None:
    CountLog(tmp_path).append([Row(STREAM, 0, "AB"), Row(STREAM, 2, "BB")], "w")
    file = tmp_path / FOLDER / "w.jsonl"
    whole = file.read_bytes()
    for cut in range(len(whole)):
        file.write_bytes(whole[:cut])
        assert log_of(tmp_path).votes("k") == ("AB" if b"\n" in whole[:cut] else "")


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    CountLog(tmp_path).append([Row(STREAM, 0, "AB")], "w")
    file = tmp_path / FOLDER / "w.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"count": 2', b'"count": 3'))
    with pytest.raises(UserError, match=r"w\.jsonl is damaged"):
        log_of(tmp_path)


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import medproof.smoothing.counts as counts

    log = CountLog(tmp_path)
    log.append([Row(STREAM, 0, "AB")], "w")
    write_all = counts.write_all

    def half(descriptor: int, data: bytes) -> None:
        write_all(descriptor, data[: len(data) // 2])
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(counts, "write_all", half)
    with pytest.raises(UserError, match="disk full"):
        log.append([Row(STREAM, 2, "BA")], "w")
    monkeypatch.undo()
    log.append([Row(STREAM, 2, "AA")], "w")
    assert log_of(tmp_path).votes("k") == "ABAA"


def test_of_an_item_the_stream_begun_last_counts(tmp_path: Path) -> None:
    """The weights changed, or the picture: older votes stay in the log and prove nothing any more."""
    newer = Stream("k2", "item", "sha2", 28, 28, 0.25, "option_argmax", False)
    log = CountLog(tmp_path)
    log.append([Row(STREAM, 0, "AB"), Row(newer, 0, "BB")], "w")
    assert log_of(tmp_path).streams() == [newer]
