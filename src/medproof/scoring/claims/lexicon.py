"""The closed vocabularies of the grammar: names, their synonyms, and what lies within what.

Plurals are made by rule (`plurals`); irregular ones are listed. Names in `CASED` count in capitals only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MODALITIES: Mapping[str, tuple[str, ...]] = {
    "CT": ("CT", "computed tomography", "computerised tomography", "computerized tomography", "CAT scan"),
    "MRI": ("MRI", "MR", "magnetic resonance", "magnetic resonance imaging"),
    "X-Ray": ("x ray", "xray", "radiograph", "radiography", "plain film", "mammogram", "mammography"),
    "Ultrasound": ("ultrasound", "sonography", "sonogram", "ultrasonography", "ultrasonogram", "sonographic image"),
    "Dermoscopy": ("dermoscopy", "dermatoscopy", "dermoscopic", "dermatoscopic", "dermoscopically"),
    "Fundus Photography": ("fundus photography", "fundus photograph", "fundus image", "fundoscopy", "color fundus"),
    "OCT": ("OCT", "optical coherence tomography"),
    "Microscopy": ("microscopy", "microscopic", "micrograph", "photomicrograph", "histology", "histological section"),
    "PET": ("PET", "positron emission tomography"),
    "Endoscopy": ("endoscopy", "endoscopic image", "colonoscopy"),
}

VIEWS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "projection": {
        "AP": ("AP", "anteroposterior", "antero posterior"),
        "PA": ("PA", "posteroanterior", "postero anterior"),
        "lateral": ("lateral view", "lateral projection", "lateral radiograph", "lateral film", "lateral chest"),
    },
    "plane": {
        "axial": ("axial", "transverse slice", "transverse section", "transaxial"),
        "coronal": ("coronal",),
        "sagittal": ("sagittal", "midsagittal"),
    },
    "sequence": {
        "T1": ("T1", "T1 weighted", "T1w"),
        "T2": ("T2", "T2 weighted", "T2w"),
        "FLAIR": ("FLAIR", "fluid attenuated inversion recovery"),
        "DWI": ("DWI", "diffusion weighted"),
        "STIR": ("STIR",),
    },
    "contrast": {
        "with contrast": (
            "with contrast", "with contrast medium", "with contrast agent", "with intravenous contrast",
            "with iv contrast", "contrast enhanced", "post contrast", "postcontrast", "after contrast",
            "gadolinium enhanced", "with gadolinium", "after gadolinium", "after contrast administration",
        ),
        "without contrast": (
            "without contrast", "without contrast medium", "without contrast agent", "without intravenous contrast",
            "without iv contrast", "non contrast", "noncontrast", "unenhanced", "pre contrast", "non enhanced",
            "no contrast", "no contrast medium", "no intravenous contrast", "no contrast agent",
        ),
    },
}  # fmt: skip
"""By group; the values of one group exclude each other."""


@dataclass(frozen=True)
class Region:
    """names: synonyms. within: the region it is a part of."""

    names: tuple[str, ...]
    within: str | None = None


REGIONS: Mapping[str, Region] = {
    "head": Region(("head", "skull", "cranium")),
    "brain": Region(("brain", "cerebral", "intracranial", "cerebellum", "cerebellar", "cerebrum"), "head"),
    "pituitary gland": Region(
        ("pituitary gland", "pituitary", "sella", "sellar", "sellar region", "pituitary fossa"), "brain"
    ),
    "neck": Region(("neck", "cervical region")),
    "thyroid": Region(("thyroid", "thyroid gland"), "neck"),
    "chest": Region(("chest", "thorax", "thoracic", "hemithorax", "hemithoraces", "thoraces")),
    "lung": Region(("lung", "pulmonary", "lung field", "lung parenchyma", "lung base", "lung zone"), "chest"),
    "heart": Region(("heart", "cardiac"), "chest"),
    "mediastinum": Region(("mediastinum", "mediastinal", "cardiomediastinum"), "chest"),
    "shoulder girdle and thoracic inlet": Region(("shoulder girdle and thoracic inlet", "thoracic inlet"), "chest"),
    "abdomen": Region(("abdomen", "abdominal")),
    "liver": Region(("liver", "hepatic"), "abdomen"),
    "spleen": Region(("spleen", "splenic"), "abdomen"),
    "kidney": Region(("kidney", "renal"), "abdomen"),
    "pancreas": Region(("pancreas", "pancreatic"), "abdomen"),
    "stomach": Region(("stomach", "gastric"), "abdomen"),
    "gallbladder": Region(("gallbladder",), "abdomen"),
    "colon": Region(("colon", "colonic", "large bowel"), "abdomen"),
    "pelvis": Region(("pelvis", "pelvic")),
    "bladder": Region(("bladder", "urinary bladder"), "pelvis"),
    "prostate": Region(("prostate",), "pelvis"),
    "uterus": Region(("uterus", "uterine"), "pelvis"),
    "breast": Region(("breast", "mammary gland")),
    "skin": Region(("skin", "cutaneous")),
    "eye": Region(("eye", "ocular")),
    "retina": Region(("retina", "retinal", "ocular fundus", "fundus"), "eye"),
    "macula": Region(("macula", "macular", "fovea"), "retina"),
    "optic disc": Region(("optic disc", "optic disk", "optic nerve head"), "retina"),
    "peripheral blood": Region(("peripheral blood", "blood smear", "blood film", "blood")),
    "spine": Region(("spine", "vertebral column")),
    "shoulder": Region(("shoulder",)),
    "knee": Region(("knee",)),
    "hip": Region(("hip",)),
    "hand": Region(("hand", "wrist")),
    "foot": Region(("foot", "feet", "ankle")),
    "thigh": Region(("thigh",)),
}


@dataclass(frozen=True)
class Finding:
    """names: synonyms. kind_of: the wider finding that it is one of. home: the region it is found in, where the name
    says so. nature: what it is by definition."""

    names: tuple[str, ...]
    kind_of: str | None = "abnormality"
    home: str | None = None
    nature: str | None = None


_PLAIN = (
    "cavity", "bronchiectasis", "cotton-wool spot", "gallstone", "kidney stone", "aneurysm", "abscess", "thrombus",
    "embolism", "hernia", "scar", "polyp", "ulcer", "granuloma", "schwannoma", "lipoma", "wart", "psoriasis",
    "eczema", "keratoacanthoma", "solar lentigo", "goitre", "osteoarthritis", "scoliosis", "dislocation",
    "cirrhosis", "steatosis", "ascites", "acute respiratory distress syndrome", "retinal detachment",
    "macular hole", "cataract", "papilledema", "age-related macular degeneration", "pleural thickening",
    "osteophyte", "stenosis", "necrosis", "inflammation", "congestion", "hyperplasia", "dysplasia", "appendicitis",
    "pancreatitis", "bronchitis", "nephrolithiasis",
)  # fmt: skip
"""Findings of which only the name is known."""

FINDINGS: Mapping[str, Finding] = {
    "abnormality": Finding(("abnormality", "pathology", "pathological finding", "abnormal finding"), None),
    "lesion": Finding(("lesion",)),
    "nodule": Finding(("nodule", "nodular lesion"), "lesion"),
    "pulmonary nodule": Finding(("pulmonary nodule", "lung nodule"), "nodule", "lung"),
    "mass": Finding(("mass", "mass lesion"), "lesion"),
    "tumour": Finding(("tumour", "tumor", "neoplasm"), "lesion"),
    "cyst": Finding(("cyst", "cystic lesion"), "lesion"),
    "skin lesion": Finding(("skin lesion", "pigmented lesion", "pigmented skin lesion"), "lesion", "skin"),
    "breast lesion": Finding(("breast lesion", "breast mass", "breast tumour", "breast tumor"), "lesion", "breast"),
    "metastasis": Finding(("metastasis", "metastases", "metastatic lesion"), "tumour", None, "malignant"),
    "carcinoma": Finding(("carcinoma", "adenocarcinoma", "cancer"), "tumour", None, "malignant"),
    "lymphoma": Finding(("lymphoma",), "tumour", None, "malignant"),
    "fibroadenoma": Finding(("fibroadenoma",), "breast lesion", "breast", "benign"),
    "meningioma": Finding(("meningioma",), "tumour", "head"),
    "glioma": Finding(("glioma", "astrocytoma", "oligodendroglioma"), "tumour", "brain"),
    "glioblastoma": Finding(("glioblastoma", "glioblastoma multiforme", "GBM"), "glioma", "brain", "malignant"),
    "pituitary tumour": Finding(
        ("pituitary tumour", "pituitary tumor", "pituitary adenoma", "pituitary macroadenoma"), "tumour", "brain"
    ),
    "melanoma": Finding(("melanoma", "malignant melanoma"), "skin lesion", None, "malignant"),
    "melanocytic nevus": Finding(
        ("melanocytic nevus", "melanocytic naevus", "nevus", "naevus", "nevi", "naevi", "melanocytic nevi", "mole"),
        "skin lesion", "skin", "benign",
    ),
    "common melanocytic nevus": Finding(("common melanocytic nevus", "common nevus"), "melanocytic nevus", "skin"),
    "atypical melanocytic nevus": Finding(
        ("atypical melanocytic nevus", "atypical nevus", "dysplastic nevus"), "melanocytic nevus", "skin"
    ),
    "seborrheic keratosis": Finding(
        ("seborrheic keratosis", "seborrhoeic keratosis", "seborrheic keratoses"), "skin lesion", "skin", "benign"
    ),
    "basal cell carcinoma": Finding(("basal cell carcinoma", "BCC"), "skin lesion", "skin", "malignant"),
    "squamous cell carcinoma": Finding(("squamous cell carcinoma", "SCC"), "carcinoma", None, "malignant"),
    "actinic keratosis": Finding(("actinic keratosis", "actinic keratoses"), "skin lesion", "skin"),
    "dermatofibroma": Finding(("dermatofibroma",), "skin lesion", "skin", "benign"),
    "opacity": Finding(("opacity", "opacification")),
    "ground-glass opacity": Finding(
        ("ground glass opacity", "ground glass opacification", "ground glass", "GGO"), "opacity", "lung"
    ),
    "consolidation": Finding(
        ("consolidation", "airspace consolidation", "airspace disease", "airspace opacity"), "opacity", "lung"
    ),
    "infiltration": Finding(("infiltration", "infiltrate"), "opacity"),
    "pneumonia": Finding(("pneumonia", "bronchopneumonia", "lobar pneumonia"), "abnormality", "lung"),
    "COVID-19 pneumonia": Finding(("COVID 19 pneumonia", "COVID pneumonia", "COVID 19"), "pneumonia", "lung"),
    "tuberculosis": Finding(("tuberculosis",), "abnormality"),
    "effusion": Finding(("effusion", "pleural effusion", "pleural fluid"),),
    "pneumothorax": Finding(("pneumothorax", "pneumothoraces"), "abnormality", "chest"),
    "atelectasis": Finding(("atelectasis", "atelectases"), "abnormality", "lung"),
    "cardiomegaly": Finding(("cardiomegaly", "enlarged heart", "cardiac enlargement"), "abnormality", "chest"),
    "emphysema": Finding(("emphysema",), "abnormality", "chest"),
    "fibrosis": Finding(("fibrosis",),),
    "edema": Finding(("edema", "oedema", "pulmonary edema", "pulmonary oedema")),
    "haemorrhage": Finding(("haemorrhage", "hemorrhage", "bleeding", "haematoma", "hematoma")),
    "infarct": Finding(("infarct", "infarction", "ischaemia", "ischemia")),
    "hydrocephalus": Finding(("hydrocephalus",), "abnormality", "brain"),
    "fracture": Finding(("fracture",)),
    "calcification": Finding(("calcification", "microcalcification")),
    "lymphadenopathy": Finding(("lymphadenopathy", "enlarged lymph node", "adenopathy")),
    "diabetic retinopathy": Finding(("diabetic retinopathy", "retinopathy"), "abnormality", "retina"),
    "non-proliferative diabetic retinopathy": Finding(
        ("non proliferative diabetic retinopathy", "nonproliferative diabetic retinopathy",
         "non proliferative retinopathy", "nonproliferative retinopathy", "NPDR"),
        "diabetic retinopathy", "retina",
    ),
    "proliferative diabetic retinopathy": Finding(
        ("proliferative diabetic retinopathy", "proliferative retinopathy", "PDR"), "diabetic retinopathy", "retina"
    ),
    "macular edema": Finding(
        ("macular edema", "macular oedema", "diabetic macular edema", "diabetic macular oedema", "DME"),
        "edema", "retina",
    ),
    "drusen": Finding(("drusen",), "abnormality", "retina"),
    "choroidal neovascularization": Finding(
        ("choroidal neovascularization", "choroidal neovascularisation", "CNV"), "abnormality", "retina"
    ),
    "microaneurysm": Finding(("microaneurysm",),),
    "exudate": Finding(("exudate", "hard exudate"),),
    "glaucoma": Finding(("glaucoma",), "abnormality", "eye"),
    "hemangioma": Finding(("hemangioma", "haemangioma", "angioma"), "tumour", None, "benign"),
    "cell": Finding(("cell",), None),
    "white blood cell": Finding(("white blood cell", "leukocyte", "leucocyte", "white cell", "WBC"), "cell"),
    "red blood cell": Finding(("red blood cell", "erythrocyte", "red cell", "RBC"), "cell"),
    "platelet": Finding(("platelet", "thrombocyte"), "cell"),
    "neutrophil": Finding(("neutrophil", "neutrophil granulocyte"), "white blood cell"),
    "eosinophil": Finding(("eosinophil",), "white blood cell"),
    "basophil": Finding(("basophil",), "white blood cell"),
    "lymphocyte": Finding(("lymphocyte",), "white blood cell"),
    "monocyte": Finding(("monocyte",), "white blood cell"),
    **{name: Finding((name,)) for name in _PLAIN},
}  # fmt: skip

EXCLUSIVE: tuple[frozenset[str], ...] = (
    frozenset({"melanoma", "melanocytic nevus", "seborrheic keratosis", "basal cell carcinoma", "actinic keratosis",
               "squamous cell carcinoma", "dermatofibroma"}),
    frozenset({"common melanocytic nevus", "atypical melanocytic nevus"}),
    frozenset({"meningioma", "glioma", "pituitary tumour", "metastasis"}),
    frozenset({"neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte"}),
    frozenset({"non-proliferative diabetic retinopathy", "proliferative diabetic retinopathy"}),
)  # fmt: skip
"""Diagnoses of which one lesion, eye or cell has one."""

CASED = frozenset({"MR", "AP", "PA", "PET", "BCC", "SCC", "GGO", "DME", "CNV", "PDR", "NPDR", "STIR", "GBM", "OCT"})


def chain(finding: str) -> Iterator[str]:
    """The finding, and every wider one that it is a kind of."""
    name: str | None = finding
    while name is not None:
        yield name
        name = FINDINGS[name].kind_of if name in FINDINGS else None


def around(region: str) -> Iterator[str]:
    """The region, and every one that it lies within."""
    name: str | None = region
    while name is not None:
        yield name
        name = REGIONS[name].within if name in REGIONS else None


def view_group(view: str) -> str | None:
    """The group of `VIEWS` that a value is one of."""
    return next((group for group, values in VIEWS.items() if view in values), None)


def plurals(name: str) -> tuple[str, ...]:
    """The name and its regular plural."""
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        return name, f"{name[:-1]}ies"
    return name, f"{name}es" if name.endswith(("s", "x", "ch", "sh")) else f"{name}s"


def entries() -> Iterator[tuple[str, str, str]]:
    """(name as written, kind, value) of every vocabulary."""
    for value, names in MODALITIES.items():
        yield from ((name, "modality", value) for name in names)
    for group in VIEWS.values():
        for value, names in group.items():
            yield from ((name, "view", value) for name in names)
    for value, region in REGIONS.items():
        yield from ((name, "region", value) for name in region.names)
    for value, finding in FINDINGS.items():
        yield from ((name, "finding", value) for name in finding.names)
