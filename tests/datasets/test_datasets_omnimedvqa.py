from pathlib import Path
from typing import Any

import pytest

from medproof.datasets.omnimedvqa import looks_like, to_items
from medproof.errors import UserError

ROW: dict[str, Any] = {
    "dataset": "ISIC2018",
    "question_id": "ISIC2018_0001",
    "question_type": "Disease Diagnosis",
    "question": "What is shown?",
    "gt_answer": "melanoma",
    "image_path": "Images/ISIC2018/a.png",
    "option_A": "nevus",
    "option_B": "melanoma",
    "option_C": "dermatofibroma",
    "option_D": "eczema",
    "modality_type": "Dermoscopy",
}
PATH = Path("QA_information/Open-access/ISIC2018.json")


def test_a_row_becomes_an_item() -> None:
    items, quarantined = to_items([ROW], PATH)
    assert quarantined == []
    item = items[0]
    assert (item.id, item.answer_letter, item.modality, item.source) == ("ISIC2018_0001", "B", "Dermoscopy", "ISIC2018")
    assert item.split == "test"


@pytest.mark.parametrize("n", [2, 3, 4])
def test_options_c_and_d_may_be_absent_or_empty(n: int) -> None:
    for blank in (None, "", "drop"):
        row = dict(ROW)
        for letter in "ABCD"[n:]:
            row[f"option_{letter}"] = blank
            if blank == "drop":
                del row[f"option_{letter}"]
        items, _ = to_items([row], PATH)
        assert len(items[0].options) == n


def test_the_row_keyed_modality_is_read() -> None:
    row = {key: value for key, value in ROW.items() if key != "modality_type"} | {"modality": "CT(Computed Tomography)"}
    assert to_items([row], PATH)[0][0].modality == "CT"


def test_case_may_differ_between_answer_and_option() -> None:
    assert to_items([ROW | {"gt_answer": " Melanoma "}], PATH)[0][0].answer == "melanoma"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"gt_answer": "melanoma of the skin"}, "none of the options"),
        ({"gt_answer": 3}, "field 'gt_answer' is missing or no text"),
        ({"option_B": ""}, "the options have a gap"),
        ({"option_B": "Nevus", "gt_answer": "nevus"}, "the same option twice"),
        ({"question_type": "Colour"}, "question type 'Colour' is none of"),
        ({"modality_type": None}, "field 'modality_type' is missing"),
        ({"image_path": ""}, "field 'image_path' is missing"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_reason(change: dict[str, Any], reason: str) -> None:
    items, quarantined = to_items([ROW | {"question_id": "other"}, ROW | change, "text", ROW, ROW], PATH)
    assert [item.id for item in items] == ["other", "ISIC2018_0001"]
    assert [q.where for q in quarantined] == [f"ISIC2018.json[{i}]" for i in (1, 2, 4)]
    assert reason in quarantined[0].reason


def test_the_form_is_told_by_its_answer_field() -> None:
    assert looks_like([None, ROW])
    assert not looks_like([{"problem": "x"}])


def test_an_image_outside_the_root_is_refused() -> None:
    with pytest.raises(UserError, match="leaves the data folder"):
        to_items([ROW | {"image_path": "/etc/passwd"}], PATH)
