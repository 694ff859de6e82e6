"""Names of answers: remarks stripped, synonyms merged, and which answers may never be offered together.

Two answers of one family are nested or overlapping (a common nevus is a melanocytic nevus, the lung is in the chest),
so at most one answer of a family is ever an option of a question.
"""

import re

_REMARK = re.compile(r"\s*\([^)]*\)\s*$")

SYNONYMS: dict[str, str] = {
    "acral melanocytic nevus": "melanocytic nevus",
    "melanocytic naevus": "melanocytic nevus",
    "nevus": "melanocytic nevus",
    "seborrhoeic keratosis": "seborrheic keratosis",
    "pituitary tumor": "pituitary tumour",
    "no visible tumor in this slice": "no visible tumour in this slice",
    "tumor": "tumour",
    "lung nodule": "pulmonary nodule",
    "covid-19": "COVID-19 pneumonia",
    "COVID-19 pneumonia with ARDS": "COVID-19 pneumonia",
    "pneumocystis pneumonia": "Pneumocystis pneumonia",
    "diabetic macular oedema": "diabetic macular edema",
    "thorax": "chest",
    "lungs": "lung",
    "blood": "peripheral blood",
    "X-ray": "X-Ray",
    "Radiograph": "X-Ray",
    "Computed Tomography": "CT",
    "MR": "MRI",
    "Fundus photography": "Fundus Photography",
}

FAMILIES: tuple[frozenset[str], ...] = (
    frozenset({"melanocytic nevus", "common melanocytic nevus", "atypical melanocytic nevus"}),
    frozenset(
        {
            "pneumonia",
            "COVID-19 pneumonia",
            "Klebsiella pneumonia",
            "Legionella pneumonia",
            "Pneumocystis pneumonia",
            "streptococcal pneumonia",
            "acute respiratory distress syndrome",
        }
    ),
    frozenset({"chest", "lung", "shoulder girdle and thoracic inlet"}),
    frozenset({"brain", "pituitary gland"}),
    frozenset({"retina", "macula"}),
)

NOT_A_VISUAL_DIAGNOSIS = frozenset({"lung adenocarcinoma", "no diagnosis given", "peripheral blood smear"})
"""Labels of a patient or of a picture's kind, never answers to "what is the diagnosis?"."""

WHITE_CELLS = frozenset({"neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte"})

_SPOKEN = {"X-Ray": "x-ray"}

_FAMILY_OF = {name: "family:" + min(family) for family in FAMILIES for name in family}


def canonical(name: str) -> str:
    """`name` without a trailing remark in parentheses, synonyms merged: "tumour (FLAIR abnormality)" -> "tumour"."""
    bare = _REMARK.sub("", name.strip())
    return SYNONYMS.get(bare, bare)


def family(answer: str) -> str:
    """Key of the family an answer belongs to; an answer without relatives is its own family."""
    return _FAMILY_OF.get(answer, answer)


def compatible(first: str, second: str) -> bool:
    """Whether two answers may stand beside each other as options."""
    return family(first) != family(second)


def spoken(name: str) -> str:
    """Lower case for running text, acronyms kept: "Fundus Photography" -> "fundus photography", "CT" -> "CT"."""
    return " ".join(_SPOKEN.get(word, word if _is_acronym(word) else word.lower()) for word in name.split())


def _is_acronym(word: str) -> bool:
    return any(letter.isupper() for letter in word[1:])
