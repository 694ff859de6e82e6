import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medproof.errors import UserError
from medproof.records import Item, Response, pixels_sha256
from medproof.runs.store import RunStore, read_run

MakeItem = Callable[..., Item]
MakeResponse = Callable[..., Response]
MakeMeta = Callable[..., dict[str, Any]]


def files(run: Path) -> set[str]:
    return {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}


def test_a_new_run_reads_back(store: RunStore, make_item: MakeItem, make_meta: MakeMeta) -> None:
    assert store.meta == {"schema": 1, **make_meta()}
    assert store.items() == tuple(make_item(n) for n in range(6))
    assert store.responses() == []
    assert store.present_keys() == set()
    assert json.loads((store.path / "run.json").read_text()) == store.meta


def test_appended_responses_and_images_read_back(store: RunStore, make_response: MakeResponse) -> None:
    image = np.random.default_rng(0).integers(0, 256, (28, 56, 3), dtype=np.uint8)
    sha = pixels_sha256(image)
    rows = [make_response(n, image_sha256=sha, info={"eps_255": 8.0}, option_logprobs=(-0.1, -2.0)) for n in range(3)]
    store.append(rows, {sha: image})
    assert store.responses() == rows
    assert store.present_keys() == {row.key for row in rows}
    assert np.array_equal(store.image(sha), image)
    assert store.image_path(sha) == store.path / "images" / f"{sha}.png"
    assert store.image("f" * 64) is None
    data = read_run(store.path)
    assert data.responses == tuple(rows)
    assert data.items == store.items()
    assert data.meta == store.meta


def test_many_images_at_once(store: RunStore) -> None:
    images = {}
    for value in range(40):
        image = np.full((8, 8, 3), value, np.uint8)
        images[pixels_sha256(image)] = image
    store.append([], images)
    store.append([], images)  # there already
    assert all(np.array_equal(store.image(sha), image) for sha, image in images.items())
    assert {path.stem for path in (store.path / "images").iterdir()} == set(images)


def test_an_image_that_is_not_what_it_says_is_refused(store: RunStore) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    store.append([], {"ab" * 32: image})
    with pytest.raises(UserError, match="does not hold the pixels"):
        store.image("ab" * 32)


def test_order_is_that_of_conditions_and_items(
    store: RunStore, make_response: MakeResponse, make_meta: MakeMeta, make_item: MakeItem
) -> None:
    store.create(make_meta(conditions=["clean", "blank"]), store.items())
    for number, condition in [(2, "blank"), (5, "clean"), (0, "blank"), (1, "clean")]:
        store.append([make_response(number, condition)])
    assert [(r.condition, r.item_id) for r in store.responses()] == [
        ("clean", "item1"),
        ("clean", "item5"),
        ("blank", "item0"),
        ("blank", "item2"),
    ]


def test_an_error_gives_way_to_a_later_success(store: RunStore, make_response: MakeResponse) -> None:
    store.append([make_response(1, error="no memory"), make_response(2)])
    assert store.present_keys() == {"clean-2"}
    assert [r.error for r in store.responses()] == ["no memory", None]
    store.append([make_response(1, text="good")])
    store.append([make_response(1, error="late error")])
    assert store.present_keys() == {"clean-1", "clean-2"}
    assert [(r.item_id, r.text, r.error) for r in store.responses()] == [
        ("item1", "good", None),
        ("item2", "<answer>A</answer>", None),
    ]


def test_an_error_without_pixels_gives_way_to_a_success_under_another_key(
    store: RunStore, make_response: MakeResponse
) -> None:
    store.append([make_response(1, key="unreadable", error="truncated file")])
    store.append([make_response(1, key="readable", text="good")])
    assert [(r.key, r.error) for r in store.responses()] == [("readable", None)]


def test_changed_pixels_count_once_and_the_newest_counts(store: RunStore, make_response: MakeResponse) -> None:
    store.append([make_response(1, key="old")])
    store.append([make_response(1, key="new")])
    assert [r.key for r in store.responses()] == ["new"]
    assert store.present_keys() == {"old", "new"}


def test_reopening_adds_conditions(store: RunStore, make_meta: MakeMeta) -> None:
    again = RunStore(store.path).create(make_meta(conditions=["blank", "clean"]), store.items())
    assert again.meta["conditions"] == ["clean", "blank"]
    assert again.meta["created"] == make_meta()["created"]
    assert "resumed" not in again.meta


def test_reopening_elsewhere_is_noted_once(store: RunStore, make_meta: MakeMeta) -> None:
    for _ in range(2):
        store.create(make_meta(versions={"python": "3.12"}, created="later"), store.items())
    assert store.meta["versions"] == {"python": "3.11"}
    assert store.meta["resumed"] == [
        {"command": ["medproof", "run"], "created": "later", "versions": {"python": "3.12"}, "hardware": {"cpu": "one"}}
    ]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"weights_hash": "x" * 64}, r"model was fake \[wwwwwwwwwwww\], now fake \[xxxxxxxxxxxx\]"),
        ({"processor_hash": "x" * 64}, "processor was"),
        ({"mode": "think"}, 'mode was "direct", now "think"'),
        ({"seed": 1}, "seed was 0, now 1"),
        ({"dataset_fingerprint": "x" * 64, "limit": 5}, r"data was tiny split test limit None .*, now .* limit 5"),
        ({"decoding": {"max_new_tokens": 32}}, "decoding was"),
        ({"grid": {"patch_size": 14}}, "pixel grid was"),
    ],
)
def test_another_experiment_is_refused(
    store: RunStore, make_meta: MakeMeta, change: dict[str, Any], complaint: str
) -> None:
    before = store.meta
    with pytest.raises(UserError, match=complaint) as caught:
        RunStore(store.path).create(make_meta(**change), store.items())
    assert str(caught.value).endswith("use another --out")
    assert "\n" not in str(caught.value)
    assert store.meta == before


def test_the_same_model_under_another_spelling_goes_on(store: RunStore, make_meta: MakeMeta) -> None:
    store.create(make_meta(model="./fake"), store.items())
    assert store.meta["model"] == "fake"


def test_a_run_cut_off_before_run_json_is_made_anew(store: RunStore, make_meta: MakeMeta, make_item: MakeItem) -> None:
    (store.path / "run.json").unlink()
    store.create(make_meta(seed=5), [make_item(9)])
    assert store.meta["seed"] == 5
    assert store.items() == (make_item(9),)


def test_no_run_is_a_user_error(tmp_path: Path, store: RunStore) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_run(tmp_path / "absent")
    with pytest.raises(UserError, match=r"is not a run: it holds no run\.json"):
        read_run(tmp_path)
    with pytest.raises(UserError, match="is not a run"):
        read_run(store.path / "items.parquet")
    with pytest.raises(UserError, match="is a file"):
        RunStore(store.path / "items.parquet").create({}, [])
    assert files(tmp_path) == {f"run/{name}" for name in files(store.path)}


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("run.json", b"{", r"run\.json is damaged"),
        ("run.json", b"[]", "is not the run.json of a run"),
        ("run.json", b'{"schema": 99}', "newer medproof"),
        ("items.parquet", b"PAR1", r"items\.parquet is damaged"),
    ],
)
def test_a_damaged_run_is_a_user_error(store: RunStore, name: str, content: bytes, complaint: str) -> None:
    (store.path / name).write_bytes(content)
    with pytest.raises(UserError, match=complaint):
        read_run(store.path)


def test_a_damaged_shard_is_named(store: RunStore, make_response: MakeResponse) -> None:
    store.append([make_response(1)])
    (shard,) = (store.path / "responses").glob("*.parquet")
    shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(UserError, match=shard.name):
        read_run(store.path)


def test_reading_writes_nothing(store: RunStore, make_response: MakeResponse) -> None:
    store.append([make_response(1)])
    store.release()
    before = files(store.path)
    read_run(store.path)
    assert files(store.path) == before


def test_meta_updates_of_two_writers_are_both_kept(store: RunStore) -> None:
    def add(name: str) -> None:
        mine = RunStore(store.path)
        for _ in range(15):
            mine.update_meta(lambda meta: {**meta, name: meta.get(name, 0) + 1, "both": meta.get("both", 0) + 1})

    threads = [threading.Thread(target=add, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.meta[name] for name in ("a", "b", "both")] == [15, 15, 30]


def test_a_full_disk_leaves_a_readable_run(
    store: RunStore, make_response: MakeResponse, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append([make_response(1)])
    store.claim(["clean-2"])

    def full(*args: object) -> int:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        image = np.zeros((8, 8, 3), np.uint8)
        with pytest.raises(UserError, match="disk full"):
            store.append([make_response(2, image_sha256=pixels_sha256(image))], {pixels_sha256(image): image})
        with pytest.raises(UserError, match="disk full"):
            store.append([make_response(2)])
        with pytest.raises(UserError, match="disk full"):
            store.claim(["clean-3"])
        store.release()
    assert [r.item_id for r in read_run(store.path).responses] == ["item1"]
    assert not [name for name in files(store.path) if name.endswith(".tmp")]
    assert store.claim(["clean-2", "clean-3"]) == ["clean-2", "clean-3"]
    store.append([make_response(2)])
    assert len(read_run(store.path).responses) == 2
