"""What file, folder and field names of OmniMedVQA and Med-R1 say: split, modality, question type, source."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from medproof.records import QuestionType, Split

UNKNOWN = "unknown"

_MODALITY_KEYS: tuple[tuple[str, str], ...] = (
    # squeezed prefix of a name -> canonical modality; the first that fits wins
    ("ctcomputed", "CT"),
    ("computedtomography", "CT"),
    ("mrmag", "MRI"),
    ("mri", "MRI"),
    ("magneticresonance", "MRI"),
    ("octoptical", "OCT"),
    ("opticalcoherence", "OCT"),
    ("xray", "X-Ray"),
    ("ultrasound", "Ultrasound"),
    ("dermoscopy", "Dermoscopy"),
    ("fundus", "Fundus Photography"),
    ("microscopy", "Microscopy"),
)
_MODALITY_EXACT = {"ct": "CT", "mr": "MRI", "oct": "OCT"}

_QUESTION_TYPES: dict[str, QuestionType] = {
    "modalityrecognition": "Modality Recognition",
    "anatomyidentification": "Anatomy Identification",
    "diseasediagnosis": "Disease Diagnosis",
    "lesiongrading": "Lesion Grading",
    "otherbiologicalattributes": "Other Biological Attributes",
}

_FOLDERS: dict[str, tuple[str, ...]] = {
    "CT": ("Chest CT Scan", "Covid CT", "SARS-CoV-2 CT-scan"),
    "X-Ray": (
        "COVIDx CXR-4",
        "Chest X-Ray PA",
        "CoronaHack",
        "Covid-19 tianchi",
        "Covid19 heywhale",
        "Knee Osteoarthritis",
        "MIAS",
        "Mura",
        "Pulmonary Chest MC",
        "Pulmonary Chest Shenzhen",
        "RUS CHN",
    ),
    "Fundus Photography": (
        "ACRIMA",
        "Adam Challenge",
        "DRIMDB",
        "DeepDRiD",
        "Diabetic Retinopathy",
        "JSIEC",
        "OLIVES",
        "PALM2019",
        "Yangxi",
    ),
    "Microscopy": (
        "ALL Challenge",
        "BioMediTech",
        "Blood Cell",
        "BreakHis",
        "CRC100k",
        "HuSHeM",
        "MAlig Lymph",
        "MHSMA",
        "NLM- Malaria Data",
    ),
    "Dermoscopy": (
        "Fitzpatrick 17k",
        "ISBI2016",
        "ISIC2018",
        "ISIC2019",
        "ISIC2020",
        "Monkeypox Skin Image 2022",
        "PAD-UFES-20",
    ),
    "OCT": ("Retinal OCT-C8",),
}
_MODALITY_OF_FOLDER = {folder: name for name, folders in _FOLDERS.items() for folder in folders}
_RADIMAGENET_STARTS = {
    "CT": ("abd", "lung"),
    "MRI": ("mrabd", "mri", "knee", "spine", "ankle", "hip", "foot", "shoulder", "brain"),
    "Ultrasound": ("usn", "usf", "thyroid"),
}
_RADIMAGENET = {start: name for name, starts in _RADIMAGENET_STARTS.items() for start in starts}
_LETTERS = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Origin:
    """What a question file's own name tells; None where it does not."""

    split: Split
    modality: str | None
    question_type: QuestionType | None


def origin(path: Path) -> Origin:
    """Split (test where neither the file's nor its folders' names say train), modality and question type of a file."""
    stem = path.name.removesuffix(".gz").removesuffix(".json")
    base, _, ending = stem.rpartition("_")
    if ending not in ("train", "test"):
        base = stem
        ending = next((part for part in reversed(path.parts[:-1]) if part in ("train", "test")), "test")
    found = modality(base)
    return Origin("train" if ending == "train" else "test", None if found == UNKNOWN else found, _type(base))


def _squeeze(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())


def _type(text: str) -> QuestionType | None:
    return _QUESTION_TYPES.get(_squeeze(text))


def modality(text: str) -> str:
    """Canonical modality of a name such as "MR (Mag-netic Resonance Imaging)" or "X-Ray"; UNKNOWN for any other."""
    squeezed = _squeeze(text)
    if squeezed in _MODALITY_EXACT:
        return _MODALITY_EXACT[squeezed]
    return next((name for prefix, name in _MODALITY_KEYS if squeezed.startswith(prefix)), UNKNOWN)


def question_type(text: str) -> QuestionType:
    """Raises ValueError for a name that is none of the five types."""
    found = _type(text)
    if found is None:
        raise ValueError(f"question type {text!r} is none of {', '.join(_QUESTION_TYPES.values())}")
    return found


def source_of_image(image: str) -> str:
    """The source data set's folder: "ISIC2019" of "Images/ISIC2019/train/a.jpg"."""
    parts = PurePosixPath(image).parts
    return parts[1] if len(parts) > 2 and parts[0] == "Images" else ""


def modality_of_image(image: str) -> str:
    """Modality of an image by its source folder where all of that folder's images share one, else UNKNOWN.

    The table was read off the modality question files. RadImageNet tells by the start of the file name.
    """
    source = source_of_image(image)
    if source == "RadImageNet":
        match = _LETTERS.match(PurePosixPath(image).name)
        return _RADIMAGENET.get(match.group(), UNKNOWN) if match else UNKNOWN
    return _MODALITY_OF_FOLDER.get(source, UNKNOWN)


_IMAGING = re.compile(r"\b(modality|technique|technology|imaging|method|means|captured?|obtain\w*|acqui\w+)\b", re.I)
_TECHNIQUE = re.compile(
    r"\b(ct|mri?|x[-_ ]?rays?|ultraso\w+|oct|pet|mammogra\w+|derm(at)?oscop\w+|endoscop\w+|fundus|microscop\w+"
    r"|tomograph\w*|imaging|radiograph\w*|histo(patho)?log\w*|photograph\w*)\b",
    re.I,
)
_GRADING = re.compile(r"\b(grade|grading|stage|severity|quality)\b", re.I)
_GRADED = re.compile(
    r"^(no|mild|moderate|severe|(non-?)?proliferative)\b.*\bretinopathy\b|^(stage|grade) \w+\.?$", re.I
)
_ATTRIBUTE = re.compile(
    r"\b(characteristic\w*|features?|attributes?|distin\w+|axis|shape|morpholog\w+|describe)\b", re.I
)
_ANATOMY = re.compile(
    r"\b(organ|anatom\w+|structure|parts?|region|bone|joint|tissue|cells?|substance|content|oculus|eye|ultrasound|sonogram)\b",
    re.I,
)
_DISEASE = re.compile(
    r"\b(abnormal\w*|diseas\w*|condition|diagnos\w*|disorder|patholog\w*|lesion|findings?|cancer\w*|tumou?r|unusual"
    r"|wrong|normal|irregular\w*|anomal\w*|problem|issue)\b",
    re.I,
)


def infer_question_type(stem: str, answer: str) -> QuestionType:
    """A guess from the wording, for files that are sorted by modality and do not say. Rules in order, first wins.

    Right for about nine in ten of the labelled rows it was checked on; "Disease Diagnosis" is the rest.
    """
    if _IMAGING.search(stem) and _TECHNIQUE.search(answer) and len(answer.split()) <= 12:
        return "Modality Recognition"
    if _GRADING.search(stem) or _GRADED.search(answer):
        return "Lesion Grading"
    if _ATTRIBUTE.search(stem):
        return "Other Biological Attributes"
    if _ANATOMY.search(stem) and not _DISEASE.search(stem):
        return "Anatomy Identification"
    return "Disease Diagnosis"
