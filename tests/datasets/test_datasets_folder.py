import json
from pathlib import Path

from medproof.datasets.folder import read_folder

ROW = {"image": "Images/MIAS/a.png", "problem": "What is it? A)CT, B)X-ray", "solution": "<answer> B </answer>"}
OMNI = {
    "question_id": "q1",
    "question_type": "Disease Diagnosis",
    "question": "What?",
    "gt_answer": "one",
    "image_path": "Images/x/a.png",
    "option_A": "one",
    "option_B": "two",
    "modality_type": "X-Ray",
}


def test_two_files_of_one_name_keep_apart(tmp_path: Path) -> None:
    for folder in ("a/train", "b/train"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "X-Ray_train.json").write_text(json.dumps([ROW]))
    (tmp_path / "notes.json").write_text(json.dumps([{"trap": 1}]))
    items, quarantined = read_folder(tmp_path)
    assert [item.id for item in items] == ["a/train/X-Ray_train:0", "b/train/X-Ray_train:0"]
    assert [q.where for q in quarantined] == ["notes.json"]


def test_both_formats_may_stand_in_one_folder_and_no_id_comes_twice(tmp_path: Path) -> None:
    (tmp_path / "X-Ray_test.json").write_text(json.dumps([ROW]))
    (tmp_path / "omni1.json").write_text(json.dumps([OMNI]))
    (tmp_path / "omni2.json").write_text(json.dumps([OMNI, OMNI | {"question_id": "q2", "gt_answer": "three"}]))
    items, quarantined = read_folder(tmp_path)
    assert [item.id for item in items] == ["X-Ray_test:0", "q1"]
    assert [q.where for q in quarantined] == ["omni2.json[1]", "omni2.json"]
    assert quarantined[1].reason == "id 'q1' occurs in an earlier file"
