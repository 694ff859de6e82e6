from pathlib import Path

import pytest

from medproof.datasets import load, read_items, write_items
from medproof.errors import UserError


def test_round_trip_keeps_every_item_and_is_the_same_bytes(tmp_path: Path) -> None:
    items = load("sample").items
    for name in ("a.jsonl", "b.jsonl"):
        write_items(tmp_path / name, items)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    again, quarantined = read_items(tmp_path / "a.jsonl")
    assert (tuple(again), quarantined) == (items, [])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl"]


def test_bad_lines_are_set_aside_with_their_numbers(tmp_path: Path) -> None:
    first, second = load("sample", limit=2).items
    lines = [
        first.to_json(),
        "{not json",
        "",
        second.to_json().replace('"answer":"', '"answer":"not '),
        "[]",
        first.to_json(),
        second.to_json(),
        first.to_json().replace('{"anatomy"', '{"surprise":1,"anatomy"'),
    ]
    path = tmp_path / "items.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    items, quarantined = read_items(path)
    assert items == [first, second]
    assert [q.where for q in quarantined] == [f"items.jsonl:{n}" for n in (2, 4, 5, 6, 8)]
    reasons = [q.reason for q in quarantined]
    for reason, part in zip(
        reasons, ("not JSON", "none of its options", "not a JSON", "twice", "surprise"), strict=True
    ):
        assert part in reason


def test_an_image_outside_the_root_is_refused(tmp_path: Path) -> None:
    item = load("sample", limit=1).items[0]
    path = tmp_path / "items.jsonl"
    path.write_text(item.to_json().replace(item.image, "../" + item.image))
    with pytest.raises(UserError, match="leaves the data folder"):
        read_items(path)


def test_a_place_that_cannot_be_written_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_items(tmp_path / "file" / "items.jsonl", load("sample", limit=1).items)
