"""Claims held against annotations: every verdict worked out by hand."""

import pytest
from planted import make_item

from medproof.records import Box, Evidence, Item
from medproof.scoring.rationale import audit

FACTS = {
    "modality": "CT",
    "region": "lung",
    "finding": "pulmonary nodule",
    "where": "upper left of the image",
    "conclusion": "nodule",
}
BOX = Evidence(boxes=(Box(label="pulmonary nodule", xyxy=(10, 10, 30, 30)),))
NODULE = make_item(0, "C", facts=FACTS, evidence=BOX, width=100, height=100)
MENINGIOMA = make_item(
    1, "A", ("meningioma", "pituitary tumour"), facts={"modality": "MRI", "region": "brain", "finding": "meningioma"}
)
NORMAL = make_item(
    0, "B", ("pneumonia", "no finding"), modality="X-Ray", facts={"region": "chest", "finding": "no finding"}
)
CHEST = make_item(
    2,
    "A",
    ("patient's right", "patient's left"),
    modality="X-Ray",
    question_type="Other Biological Attributes",
    facts={"region": "chest", "finding": "pneumonia", "where": "patient's right", "orientation": "frontal"},
    evidence=Evidence(boxes=(Box(label="pneumonia", xyxy=(10, 60, 30, 90)),)),
    width=100,
    height=100,
)
SMEAR = make_item(
    4,
    modality="Microscopy",
    facts={"region": "peripheral blood", "annotation": '{"counts.platelet": "2", "counts.white blood cell": "1"}'},
)
VIEW = make_item(5, facts={"modality": "MRI", "annotation": '{"sequence": "T1 post-contrast", "view": "AP"}'})
GRADE = make_item(5, "A", ("WHO grade 2", "WHO grade 3"), facts={"finding": "glioma", "conclusion": "WHO grade 2"})
AREA = make_item(
    4,
    "B",
    ("less than 2 % of the image", "2 to 8 % of the image"),
    facts={"finding": "lesion", "conclusion": "2 to 8 % of the image"},
)
SPACED = NODULE.model_copy(update={"facts": {**FACTS, "spacing_mm": "0.5"}})
"""A box of 20 x 20 pixels of 0.5 mm: the nodule is 10 mm (across) to 14.1 mm (corner to corner) long."""


@pytest.mark.parametrize(
    ("item", "said", "kind", "held"),
    [
        (NODULE, "This is CT.", "modality", True),
        (NODULE, "This is MRI.", "modality", False),
        (NODULE, "This is not an MRI.", "modality", True),
        (NODULE, "It shows the lung.", "region", True),
        (NODULE, "It shows the chest.", "region", True),
        (NODULE, "It shows the breast.", "region", False),
        (CHEST, "The lungs are shown.", "region", None),
        (NODULE, "There is a nodule.", "finding", True),
        (NODULE, "There is a lesion.", "finding", True),
        (NODULE, "There is no nodule.", "finding", False),
        (NODULE, "There is no abnormality.", "finding", False),
        (NODULE, "There is an effusion.", "finding", None),
        (NODULE, "It is a melanoma.", "finding", None),
        (NODULE, "It is a meningioma.", "finding", False),
        (NODULE, "There is no meningioma.", "finding", None),
        (NODULE, "No nodule on the right side of the image.", "finding", None),
        (NODULE, "No nodule on the left side of the image.", "finding", False),
        (MENINGIOMA, "This is a pituitary adenoma.", "finding", False),
        (MENINGIOMA, "This is a glioma.", "finding", False),
        (MENINGIOMA, "This is a tumour.", "finding", True),
        (NORMAL, "There is a consolidation.", "finding", False),
        (NORMAL, "No effusion.", "finding", True),
        (NORMAL, "The lungs are clear.", "finding", True),
        (CHEST, "The lungs are clear.", "finding", False),
        (NODULE, "The nodule is in the left of the image.", "side", True),
        (NODULE, "The nodule is in the upper left of the image.", "side", True),
        (NODULE, "The nodule is in the upper right of the image.", "side", False),
        (NODULE, "The nodule is in the lower part of the image.", "side", False),
        (NODULE, "The nodule lies in the centre of the image.", "side", False),
        (NODULE, "The nodule is in the left lung.", "side", None),
        (NODULE, "The spleen lies on the left.", "side", None),
        (CHEST, "The pneumonia is in the right lung.", "side", True),
        (CHEST, "The pneumonia is in the left lung.", "side", False),
        (CHEST, "The pneumonia is in the left of the image.", "side", True),
        (CHEST, "Pneumonia in the right lower lobe.", "side", True),
        (CHEST, "Bilateral pneumonia.", "side", False),
        (SMEAR, "There are two platelets.", "count", True),
        (SMEAR, "There are three platelets.", "count", False),
        (SMEAR, "There are several platelets.", "count", True),
        (SMEAR, "There is one white blood cell.", "count", True),
        (SMEAR, "There are two neutrophils.", "count", None),
        (NODULE, "There is a single nodule.", "count", True),
        (NODULE, "There are two nodules.", "count", False),
        (NODULE, "There are two fractures.", "count", None),
        (VIEW, "A T1-weighted image.", "view", True),
        (VIEW, "A T2-weighted image.", "view", False),
        (VIEW, "An image without contrast.", "view", False),
        (VIEW, "A PA projection.", "view", False),
        (VIEW, "A coronal image.", "view", None),
        (GRADE, "A WHO grade II glioma.", "grade", True),
        (GRADE, "A grade 3 glioma.", "grade", False),
        (GRADE, "BI-RADS 4.", "grade", None),
        (NORMAL, "Malignant.", "grade", False),
        (AREA, "It covers 2 to 8 % of the image.", "size", True),
        (AREA, "It covers 5 % of the image.", "size", True),
        (AREA, "It covers less than 1 % of the image.", "size", False),
        (AREA, "It measures 12 mm.", "size", None),
        (SPACED, "The nodule measures 12 mm.", "size", True),
        (SPACED, "The nodule measures 3 cm.", "size", False),
        (NODULE, "The nodule measures 12 mm.", "size", None),
        (NODULE, "The nodule covers 30 % of the image.", "size", False),
        (NODULE, "So the answer is nodule.", "conclusion", True),
        (NODULE, "So the answer is C.", "conclusion", True),
        (NODULE, "So the answer is mass.", "conclusion", False),
    ],
)
def test_one_claim(item: Item, said: str, kind: str, held: bool | None) -> None:
    found = [verdict for claim, verdict in audit(item, said).claims.items() if claim.kind == kind]
    assert found == [held]


def test_a_malignancy_that_follows_from_the_diagnosis() -> None:
    melanoma = make_item(0, facts={"region": "skin", "finding": "melanoma"})
    told = {c.value: held for c, held in audit(melanoma, "A malignant lesion. It is not benign.").claims.items()}
    assert told == {"malignant": True, "lesion": True, "benign": True}


def test_several_places_that_disagree_decide_nothing() -> None:
    boxes = tuple(Box(label="lesion", xyxy=(x, 10, x + 20, 30)) for x in (5, 75))
    item = make_item(0, facts={"finding": "lesion"}, evidence=Evidence(boxes=boxes), width=100, height=100)
    told = {
        c.value: held for c, held in audit(item, "A lesion on the left. Bilateral lesions. Two lesions.").claims.items()
    }
    assert (told["left"], told["both"], told["2"]) == (None, True, True)


def test_the_diagnoses_of_a_question_exclude_each_other() -> None:
    """Of names that the lexicon does not know: the options of the question."""
    item = make_item(0, "A", ("morbus one", "morbus two"), facts={"finding": "morbus one"})
    told = {c.value: held for c, held in audit(item, "Morbus one, not morbus two.").claims.items()}
    assert told == {"morbus one": True, "morbus two": True}
    assert list(audit(item, "A case of morbus two.").claims.values()) == [False]
