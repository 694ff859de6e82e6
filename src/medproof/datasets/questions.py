"""The kinds of question an annotated image supports: what is asked, in which words, and the true answer.

A kind never asks what the annotation does not say, and no stem of `modality` or `anatomy` names a modality.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from medproof.datasets import position
from medproof.datasets.corpus import Row
from medproof.datasets.vocabulary import NOT_A_VISUAL_DIAGNOSIS, WHITE_CELLS, canonical
from medproof.records import QuestionType, Stage


@dataclass(frozen=True)
class Truth:
    """The true answer of one row. Rows of one `group` lend each other their answers as distractors."""

    answer: str
    group: str
    subject: str = ""


@dataclass(frozen=True)
class Kind:
    """One kind of question.

    truth: the true answer of a row; None where the row does not support the question.
    stems: wordings; `{subject}` is filled in from the truth.
    about: what a rationale has to find first: the "label" of the image, the one boxed "thing", or nothing.
    """

    slug: str
    question_type: QuestionType
    stage: Stage
    stems: tuple[str, ...]
    truth: Callable[[Row], Truth | None]
    about: Literal["label", "thing", "nothing"] = "nothing"


def _modality(row: Row) -> Truth:
    return Truth(canonical(row.modality), "all")


def _anatomy(row: Row) -> Truth | None:
    return Truth(canonical(row.anatomy), "all") if row.anatomy else None


def _diagnosis(row: Row) -> Truth | None:
    label = canonical(row.label or "")
    if not label or label in NOT_A_VISUAL_DIAGNOSIS or label in WHITE_CELLS:
        return None
    if row.modality == "Fundus Photography":
        # the macular-edema label says nothing of retinopathy, so it is no rival of the others: kind `edema` asks it
        if row.grade is None:
            return None
        label = "diabetic retinopathy" if row.grade > 0 else "no diabetic retinopathy"
    return Truth(label, row.modality)


_GRADES: dict[str, tuple[str, dict[int, str]]] = {
    "MRI": ("WHO grade of this glioma", {2: "WHO grade 2", 3: "WHO grade 3"}),
    "Fundus Photography": (
        "stage of diabetic retinopathy",
        {
            0: "no diabetic retinopathy",
            1: "non-proliferative diabetic retinopathy",
            2: "proliferative diabetic retinopathy",
        },
    ),
    "Dermoscopy": (
        "asymmetry grade of this lesion",
        {0: "symmetric", 1: "asymmetric in one axis", 2: "asymmetric in two axes"},
    ),
}
_BREAST = {"benign breast lesion": "benign", "malignant breast lesion": "malignant"}


def _grade(row: Row) -> Truth | None:
    label = canonical(row.label or "")
    if label in _BREAST:
        return Truth(_BREAST[label], row.modality, "nature of this lesion")
    if row.grade is None or row.modality not in _GRADES:
        return None
    subject, names = _GRADES[row.modality]
    return Truth(names[row.grade], row.modality, subject) if row.grade in names else None


def _position(row: Row) -> Truth | None:
    found = position.target(row)
    answer = position.quadrant(row, found[1]) if found else None
    return Truth(answer, f"{row.modality}/{found[0]}", found[0]) if found and answer else None


_SIZE_EDGES = (0.05, 0.2)
_SIZES = ("less than 5 % of the image", "5 to 20 % of the image", "more than 20 % of the image")


def _size(row: Row) -> Truth | None:
    found = position.target(row)
    if found is None or found[0] not in position.LESIONS:
        return None
    share = position.area_share(row, found[1])
    if any(edge / 1.2 < share < edge * 1.2 for edge in _SIZE_EDGES):
        return None
    return Truth(_SIZES[sum(share > edge for edge in _SIZE_EDGES)], f"{row.modality}/{found[0]}", found[0])


_VIEWS = {"AP": "anteroposterior (AP)", "PA": "posteroanterior (PA)"}


def _view(row: Row) -> Truth | None:
    return Truth(_VIEWS[row.view], row.modality) if row.modality == "X-Ray" and row.view in _VIEWS else None


def _sequence(row: Row) -> Truth | None:
    known = row.modality == "MRI" and row.sequence and row.sequence != "unknown"
    return Truth(row.sequence, row.modality) if known and row.sequence else None


def _contrast(row: Row) -> Truth | None:
    if row.modality != "CT" or row.contrast is None:
        return None
    return Truth("with contrast medium" if row.contrast else "without contrast medium", row.modality)


def _eye(row: Row) -> Truth | None:
    if row.modality != "Fundus Photography" or row.laterality not in ("left", "right"):
        return None
    return Truth(f"{row.laterality} eye", row.modality)


def _edema(row: Row) -> Truth | None:
    if row.modality != "Fundus Photography" or row.diabetic_macular_edema is None:
        return None
    return Truth("macular edema" if row.diabetic_macular_edema else "no macular edema", row.modality)


def _platelet(row: Row) -> Truth | None:
    if row.counts is None:
        return None
    return Truth("platelets present" if row.counts.get("platelet", 0) else "no platelets", row.modality)


def _cell(row: Row) -> Truth | None:
    label = canonical(row.label or "")
    return Truth(label, row.modality) if label in WHITE_CELLS else None


_OTHER: QuestionType = "Other Biological Attributes"

KINDS: dict[str, Kind] = {
    kind.slug: kind
    for kind in (
        Kind(
            "modality",
            "Modality Recognition",
            "S1",
            (
                "Which imaging modality produced this image?",
                "How was this image acquired?",
                "What kind of imaging is this?",
                "Name the imaging technique used here.",
                "This picture was taken by which method?",
            ),
            _modality,
        ),
        Kind(
            "anatomy",
            "Anatomy Identification",
            "S1",
            (
                "Which body part is examined in this image?",
                "What anatomy does this image show?",
                "Which part of the body is seen here?",
                "Name the anatomical region in this image.",
                "What tissue or region was imaged?",
            ),
            _anatomy,
        ),
        Kind(
            "diagnosis",
            "Disease Diagnosis",
            "S4",
            (
                "What is the most likely diagnosis?",
                "Which of these best describes the image?",
                "What does this image show?",
                "Which assessment fits this image?",
            ),
            _diagnosis,
            "label",
        ),
        Kind(
            "grade",
            "Lesion Grading",
            "S4",
            (
                "What is the {subject}?",
                "How would you rate the {subject}?",
                "Which option gives the {subject}?",
            ),
            _grade,
            "label",
        ),
        Kind(
            "position",
            _OTHER,
            "S2",
            (
                "In which part of the image is the {subject}?",
                "Where in the image does the {subject} lie?",
                "Which quarter of the image holds the centre of the {subject}?",
                "Where is the {subject}?",
            ),
            _position,
            "thing",
        ),
        Kind(
            "size",
            _OTHER,
            "S3",
            (
                "How much of the image does the box around the {subject} cover?",
                "How large is the box around the {subject}?",
                "The tight box of the {subject} takes up which share?",
            ),
            _size,
            "thing",
        ),
        Kind(
            "view",
            _OTHER,
            "S1",
            ("Which projection is this?", "What is the view of this radiograph?", "How did the beam pass?"),
            _view,
        ),
        Kind(
            "sequence",
            _OTHER,
            "S1",
            ("Which MRI sequence is this?", "Name the sequence of this image.", "How is this image weighted?"),
            _sequence,
        ),
        Kind(
            "contrast",
            _OTHER,
            "S1",
            (
                "Was contrast medium given for this scan?",
                "Is this scan contrast enhanced?",
                "How was this scan acquired?",
            ),
            _contrast,
        ),
        Kind(
            "eye",
            _OTHER,
            "S1",
            ("Which eye is this?", "Is this the left or the right eye?", "From which eye was this image taken?"),
            _eye,
        ),
        Kind(
            "edema",
            "Disease Diagnosis",
            "S4",
            (
                "Is there diabetic macular edema?",
                "Does this eye have macular edema?",
                "What is known of the macula in this eye?",
            ),
            _edema,
        ),
        Kind(
            "platelet",
            _OTHER,
            "S2",
            (
                "Are there platelets in this field?",
                "Does this smear field hold platelets?",
                "Can platelets be seen here?",
            ),
            _platelet,
        ),
        Kind(
            "cell",
            _OTHER,
            "S3",
            (
                "Which white blood cell is this?",
                "What type of leukocyte is shown?",
                "Name the cell in the middle.",
            ),
            _cell,
            "thing",
        ),
    )
}

DEFAULT_KINDS: tuple[str, ...] = tuple(slug for slug in KINDS if slug not in ("size", "view"))
"""All but `size` and `view`: of those two a small model learns little from a few hundred images."""
