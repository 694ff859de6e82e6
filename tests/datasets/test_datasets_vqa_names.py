from pathlib import Path
from typing import Any

import pytest

from medproof.datasets import load
from medproof.datasets.vqa_names import infer_question_type, modality, modality_of_image, origin


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("modality/test/CT(Computed Tomography)_test.json", ("test", "CT", None)),
        ("train/CT_Computed_Tomography_train.json.gz", ("train", "CT", None)),
        ("modality/test/MR (Mag-netic Resonance Imaging)_test.json", ("test", "MRI", None)),
        ("MR__Mag-netic_Resonance_Imaging_test.json.gz", ("test", "MRI", None)),
        ("OCT (Optical Coherence Tomography_test.json", ("test", "OCT", None)),
        ("X-Ray_train.json", ("train", "X-Ray", None)),
        ("ultrasound_test.json", ("test", "Ultrasound", None)),
        ("Fundus Photography_test.json", ("test", "Fundus Photography", None)),
        ("Microscopy_Images_train.json.gz", ("train", "Microscopy", None)),
        ("unknown_train.json", ("train", None, None)),
        ("question_type/train/Disease Diagnosis_train.json", ("train", None, "Disease Diagnosis")),
        ("Other Biological Attributes_test.json", ("test", None, "Other Biological Attributes")),
        ("train/mine.json", ("train", None, None)),
        ("mine.json", ("test", None, None)),
    ],
)
def test_file_names_tell_split_modality_and_type(name: str, expected: tuple[str, str | None, str | None]) -> None:
    found = origin(Path(name))
    assert (found.split, found.modality, found.question_type) == expected


def test_a_name_that_merely_begins_like_ct_is_no_ct() -> None:
    assert modality("ctenophore pictures") == "unknown"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("Images/ISIC2019/train/a.jpg", "Dermoscopy"),
        ("Images/RadImageNet/liver/usn338955.png", "Ultrasound"),
        ("Images/RadImageNet/normal/mri-abd-normal019670.png", "MRI"),
        ("Images/RadImageNet/Nodule/lung007873.png", "CT"),
        ("Images/OCT & X-Ray 2017/test/NORMAL/NORMAL-1.jpeg", "unknown"),
        ("other/a.png", "unknown"),
    ],
)
def test_source_folders_tell_the_modality_where_they_hold_one(image: str, expected: str) -> None:
    assert modality_of_image(image) == expected


def test_source_folders_never_contradict_the_modality_files(omnimedvqa_full: Any) -> None:
    items = [i for i in omnimedvqa_full.dataset.items if "unknown" not in i.id]
    known = [(i.modality, modality_of_image(i.image)) for i in items]
    assert all(told in (true, "unknown") for true, told in known)
    assert sum(told != "unknown" for _, told in known) > 0.95 * len(known)


def test_the_guess_of_a_question_type_is_mostly_right(shared_data: Path) -> None:
    items = load(shared_data / "omnimedvqa_splits" / "question_type").items
    right = sum(infer_question_type(i.question, i.answer) == i.question_type for i in items)
    assert right / len(items) > 0.9
