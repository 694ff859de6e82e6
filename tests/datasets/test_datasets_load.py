import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from dataset_rows import RowDict, make_row

from medproof.datasets import load, write_items
from medproof.errors import UserError

MED_R1 = {"image": "Images/x/a.png", "problem": "What? A)one, B)two", "solution": "<answer> B </answer>"}
OMNI = {
    "dataset": "x",
    "question_id": "q1",
    "question_type": "Disease Diagnosis",
    "question": "What?",
    "gt_answer": "one",
    "image_path": "Images/x/a.png",
    "option_A": "one",
    "option_B": "two",
    "modality_type": "X-Ray",
}


def test_every_form_is_recognised(tmp_path: Path, write_corpus: Callable[[list[RowDict]], Path]) -> None:
    sample = load("sample", limit=5)
    write_items(tmp_path / "items.jsonl", sample.items)
    (tmp_path / "r1.json").write_text(json.dumps([MED_R1]))
    (tmp_path / "zipped.json.gz").write_bytes(gzip.compress(json.dumps([MED_R1]).encode(), mtime=0))
    (tmp_path / "omni.json").write_text(json.dumps([OMNI]))
    folder = tmp_path / "folder" / "train"
    folder.mkdir(parents=True)
    (folder / "X-Ray_train.json").write_text(json.dumps([MED_R1, MED_R1]))
    assert load(tmp_path / "items.jsonl").items == sample.items
    assert load(tmp_path / "r1.json").items[0].answer == "two"
    assert load(tmp_path / "zipped.json.gz").items[0].answer == "two"
    assert load(tmp_path / "omni.json").items[0].answer == "one"
    nested = load(tmp_path / "folder")
    assert [(i.split, i.modality) for i in nested.items] == [("train", "X-Ray")] * 2
    corpus = write_corpus([make_row(i) for i in range(40)])
    assert {i.modality for i in load(corpus).items} == {"CT", "MRI", "X-Ray", "Ultrasound"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent", None, "no data at"),
        ("notes.txt", b"hello", "of no known form: give sample"),
        ("broken.json", b"[{", "is not JSON"),
        ("empty.json", b"[]", "holds no list of question rows"),
        ("dict.json", b"{}", "holds no list of question rows"),
        ("torn.json.gz", gzip.compress(b"[1, 2, 3]" * 50, mtime=0)[:-9], "cannot read"),
        ("plain.json.gz", b"[]", "cannot read"),
        ("empty.jsonl", b"\n", "is empty"),
        ("bad.jsonl", b"{}\n", "has no item for split=all .1 rows were set aside: "),
        ("numbers.json", b"[1, 2]", "2 rows were set aside: not a JSON object"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds neither manifest/\*\.jsonl nor \.json files"):
        load(tmp_path)


def test_too_few_rows_to_ask_anything_says_why(write_corpus: Callable[[list[RowDict]], Path]) -> None:
    with pytest.raises(UserError, match=r"no item for split=all \(anatomy/all: 3 rows not asked: answers true"):
        load(write_corpus([make_row(i) for i in range(3)]))


def test_splits_licences_and_limit(write_corpus: Callable[[list[RowDict]], Path]) -> None:
    rows = [make_row(i, license_class="permissive" if i < 40 else "copyleft") for i in range(60)]
    root = write_corpus(rows)
    assert {i.split for i in load(root, split="train").items} == {"train"}
    free = load(root, license_classes=["permissive"])
    assert {i.license_class for i in free.items} == {"permissive"}
    assert {i.license_class for i in load(root).items} == {"permissive", "copyleft"}
    assert len(load(root, limit=7).items) == 7
    with pytest.raises(UserError, match="no item for split=all"):
        load(root, license_classes=["unstated"])


def test_a_split_without_items_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "X-Ray_test.json").write_text(json.dumps([MED_R1]))
    with pytest.raises(UserError, match="no item for split=train: choose another split"):
        load(tmp_path / "X-Ray_test.json", split="train")


def test_forgotten_images_folder_is_told_when_images_are_needed(tmp_path: Path) -> None:
    (tmp_path / "r1.json").write_text(json.dumps([MED_R1]))
    dataset = load(tmp_path / "r1.json")
    with pytest.raises(UserError, match="with --images ROOT"):
        dataset.check_images()
    image = tmp_path / "pictures" / MED_R1["image"]
    image.parent.mkdir(parents=True)
    image.write_bytes(b"x")
    load(tmp_path / "r1.json", images_root=tmp_path / "pictures").check_images()
    with pytest.raises(UserError, match=r"the images folder .* is not there"):
        load(tmp_path / "r1.json", images_root=tmp_path / "nowhere")


def test_kinds_can_be_chosen() -> None:
    items = load("sample", kinds=["modality"]).items
    assert {i.id.split("/")[1] for i in items} == {"modality"}
