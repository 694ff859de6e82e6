import json
from collections.abc import Callable
from pathlib import Path

import pytest
from dataset_rows import RowDict, make_row

from medproof.datasets import load
from medproof.datasets.corpus import read_corpus
from medproof.errors import UserError

Write = Callable[[list[RowDict]], Path]


def test_rows_come_sorted_and_unknown_fields_are_ignored(write_corpus: Write) -> None:
    root = write_corpus([make_row(2, colour="blue"), make_row(1)])
    rows, quarantined = read_corpus(root)
    assert [row.id for row in rows] == ["img-001", "img-002"]
    assert quarantined == []
    assert rows[0].repository == "someone/somewhere"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"split": "validation"}, "split: "),
        ({"modality": ""}, "modality: "),
        ({"license_class": "free"}, "license_class: "),
        ({"width": 0}, "width: "),
        ({"boxes": [{"label": "lesion", "xyxy": [5, 5, 3, 9]}]}, "needs 0 <= x0 < x1"),
        ({"mask": "masks/none.png"}, "file 'masks/none.png' is not there"),
        ({"id": "img-000"}, "id 'img-000' occurs twice"),
    ],
)
def test_a_bad_row_is_set_aside_with_line_and_reason(write_corpus: Write, changes: RowDict, reason: str) -> None:
    root = write_corpus([make_row(0), make_row(1, **changes), make_row(2)])
    rows, quarantined = read_corpus(root)
    assert [row.id for row in rows] == ["img-000", "img-002"]
    assert [q.where for q in quarantined] == ["all.jsonl:2"]
    assert reason in quarantined[0].reason
    assert "\n" not in quarantined[0].reason


def test_lines_that_are_no_json_objects_are_set_aside(write_corpus: Write) -> None:
    root = write_corpus([make_row(0)])
    manifest = root / "manifest" / "all.jsonl"
    manifest.write_bytes(manifest.read_bytes() + b'{"id": \n[1]\n\n\xff\xfe\n')
    rows, quarantined = read_corpus(root)
    assert len(rows) == 1
    assert [q.where for q in quarantined] == ["all.jsonl:2", "all.jsonl:3", "all.jsonl:5"]
    assert quarantined[1].reason == "not a JSON object"


def test_a_missing_image_is_set_aside(write_corpus: Write) -> None:
    root = write_corpus([make_row(0), make_row(1)])
    (root / "images" / "img-001.png").unlink()
    _, quarantined = read_corpus(root)
    assert quarantined[0].reason == "file 'images/img-001.png' is not there"


@pytest.mark.parametrize("image", ["../secret.png", "/etc/hostname", "images/../../x.png", "images\\x.png"])
def test_an_image_outside_the_root_is_refused(write_corpus: Write, image: str) -> None:
    with pytest.raises(UserError, match="leaves the data folder"):
        read_corpus(write_corpus([make_row(0), make_row(1, image=image)]))


def test_a_link_out_of_the_root_is_refused(write_corpus: Write, tmp_path: Path) -> None:
    root = write_corpus([make_row(0)])
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    image = root / "images" / "img-000.png"
    image.unlink()
    image.symlink_to(secret)
    with pytest.raises(UserError, match=r"leaves the data folder .* through a link"):
        read_corpus(root)


def test_an_empty_manifest_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "manifest").mkdir()
    with pytest.raises(UserError, match=r"has no manifest/\*\.jsonl: give"):
        load(str(tmp_path))
    (tmp_path / "manifest" / "ct.jsonl").write_text("\n")
    with pytest.raises(UserError, match="no usable row; add rows"):
        load(str(tmp_path))
    (tmp_path / "manifest" / "ct.jsonl").write_text(json.dumps({"id": "a"}) + "\n")
    with pytest.raises(UserError, match="no usable row: the first of 1 bad rows: image: Field required"):
        load(str(tmp_path))


def test_the_whole_shared_corpus_reads_without_loss(shared_data: Path) -> None:
    rows, quarantined = read_corpus(shared_data)
    assert (len(rows), quarantined) == (1950, [])
