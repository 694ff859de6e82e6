"""S4: diagnosis, benign or malignant, grade. Read from labels; the lesion is their evidence where it is outlined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from medproof.bench.case import Case
from medproof.bench.findings import YES_NO
from medproof.bench.task import Reading, Task
from medproof.datasets.vocabulary import NOT_A_VISUAL_DIAGNOSIS, WHITE_CELLS

_MALIGNANCY = {
    "malignant breast lesion": "malignant",
    "benign breast lesion": "benign",
    "melanoma": "malignant",
    "melanocytic nevus": "benign",
    "common melanocytic nevus": "benign",
    "atypical melanocytic nevus": "benign",
    "seborrheic keratosis": "benign",
}
_GLIOMA_GRADES = {"2": "WHO grade 2", "3": "WHO grade 3"}
_RETINOPATHY = {
    "0": "no diabetic retinopathy",
    "1": "non-proliferative diabetic retinopathy",
    "2": "proliferative diabetic retinopathy",
}


def _assessed(case: Case, answer: str, *fields: str, group: str = "") -> Reading:
    lesion = case.lesion
    evidence = (lesion.boxes, lesion.region) if lesion else ((), None)
    return Reading(answer, "", fields, *evidence, group=group)


def _diagnosis(case: Case) -> Iterator[Reading]:
    """Of the image: labels of a patient ("lung adenocarcinoma" of a slice) are not asked, nor are graded diseases."""
    found = case.labels.get("label")
    if found is None or found in NOT_A_VISUAL_DIAGNOSIS | WHITE_CELLS or case.modality == "Fundus Photography":
        return
    # the sequence must not give the diagnosis away: options come from images of the same one
    group = case.labels.get("sequence", "")
    yield _assessed(case, found, "label", *(["sequence"] if group else []), group=group)


def _malignancy(case: Case) -> Iterator[Reading]:
    if (found := _MALIGNANCY.get(case.labels.get("label", ""))) is not None:
        yield _assessed(case, found, "label")


def _graded(case: Case, modality: str, names: Mapping[str, str]) -> Iterator[Reading]:
    if case.modality == modality and case.labels.get("grade") in names:
        yield _assessed(case, names[case.labels["grade"]], "grade")


def _edema(case: Case) -> Iterator[Reading]:
    if (found := case.labels.get("diabetic_macular_edema")) is not None:
        yield _assessed(case, "yes" if found == "true" else "no", "diabetic_macular_edema")


def _cell(case: Case) -> Iterator[Reading]:
    if (found := case.labels.get("label")) in WHITE_CELLS:
        region = case.region_with("nucleus")
        yield Reading(found or "", fields=("label",), region=region)


_SHAPED = (
    "lesion_area",
    "lesion_shape",
    "lesion_border",
    "lesion_axis",
    "lesion_brightness",
    "asymmetry",
    "opacity_kind",
)

TASKS = (
    Task(
        "diagnosis",
        "S4",
        "Disease Diagnosis",
        "single choice",
        "label",
        ("What is the most likely diagnosis?", "Which assessment fits this image?"),
        _diagnosis,
        _SHAPED,
        within="source",
        states="finding",
    ),
    Task(
        "malignancy",
        "S4",
        "Lesion Grading",
        "single choice",
        "label",
        ("Is the lesion benign or malignant?", "How would you assess this lesion?"),
        _malignancy,
        _SHAPED,
        within="source",
        ordered=("benign", "malignant"),
    ),
    Task(
        "tumour_grade",
        "S4",
        "Lesion Grading",
        "grade",
        "label",
        ("What is the WHO grade of this glioma?", "How would you grade this glioma?"),
        lambda case: _graded(case, "MRI", _GLIOMA_GRADES),
        (*_SHAPED, "lobe"),
        within="source",
        ordered=tuple(_GLIOMA_GRADES.values()),
    ),
    Task(
        "retinopathy_grade",
        "S4",
        "Lesion Grading",
        "grade",
        "label",
        ("What is the stage of diabetic retinopathy?", "How would you stage this retina?"),
        lambda case: _graded(case, "Fundus Photography", _RETINOPATHY),
        ("disc_box", "disc_half", "eye"),
        within="source",
        ordered=tuple(_RETINOPATHY.values()),
    ),
    Task(
        "macular_edema",
        "S4",
        "Disease Diagnosis",
        "yes/no",
        "label",
        ("Is there diabetic macular edema?", "Does this eye have macular edema?"),
        _edema,
        ("region", "eye"),
        ordered=YES_NO,
        within="source",
    ),
    Task(
        "cell_type",
        "S4",
        "Other Biological Attributes",
        "single choice",
        "label",
        ("Which white blood cell is this?", "What type of leukocyte is shown?"),
        _cell,
        ("nucleus_share", "nucleus_parts"),
        within="source",
    ),
)
