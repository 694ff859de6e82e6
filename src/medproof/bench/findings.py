"""S2: is there a finding, how many, on which side, in which quadrant, in which box? Read from masks and boxes."""

from __future__ import annotations

from collections.abc import Iterator

from medproof.bench.acquisition import Read, label
from medproof.bench.case import Case, Lesion
from medproof.bench.orientation import image_quarter, patient_quadrant, patient_side
from medproof.bench.task import Reading, Task
from medproof.datasets.vocabulary import NOT_A_VISUAL_DIAGNOSIS
from medproof.records import Box, QuestionType

YES_NO = ("yes", "no")
COUNTS = tuple(str(n) for n in range(11))
ABSENT = frozenset({"normal", "normal breast tissue", "no visible tumour in this slice", "no finding", "normal macula"})
"""Labels that say that nothing was found."""
_LOOKED_FOR = {"Ultrasound": "lesion", "MRI": "tumour", "X-Ray": "pathological finding"}
_REPORTED = ("infiltration", "effusion", "edema", "atelectasis", "consolidation")
MIN_STRUCTURE = 40
"""A structure of fewer pixels is neither called visible nor absent."""


def on_lesion(lesion: Lesion, answer: str, fields: tuple[str, ...] = ()) -> Reading:
    """A reading of the lesion alone."""
    return Reading(answer, lesion.name, fields, lesion.boxes, lesion.region)


def single(case: Case) -> Lesion | None:
    """The lesion where it is in one piece."""
    return case.lesion if case.lesion is not None and len(case.lesion.parts) == 1 else None


def box_text(box: Box, width: int, height: int) -> str:
    """ "[x0, y0, x1, y1]" in thousandths of the width and height, the same on every grid."""
    x0, y0, x1, y1 = box.xyxy
    edges = (x0 / width, y0 / height, x1 / width, y1 / height)
    return "[" + ", ".join(str(round(1000 * edge)) for edge in edges) + "]"


def _presence(case: Case) -> Iterator[Reading]:
    found = case.labels.get("label")
    subject = _LOOKED_FOR.get(case.modality)
    if found is None or subject is None or found in NOT_A_VISUAL_DIAGNOSIS:
        return
    group = case.labels.get("sequence", "")
    fields = ("label", "sequence") if group else ("label",)
    if found in ABSENT:
        yield Reading("no", subject, fields, group=group)
    else:
        lesion = case.lesion
        evidence = (lesion.boxes, lesion.region) if lesion else ((), None)
        yield Reading("yes", subject, fields, *evidence, group=group)


def _reported(case: Case) -> Iterator[Reading]:
    findings = case.labels.get("findings", "").split("; ")
    if findings == [""]:
        return
    for name in _REPORTED:
        yield Reading("yes" if name in findings else "no", name, ("findings",))


def _structure(case: Case) -> Iterator[Reading]:
    """Only of what was looked for: the field "classes" lists it, whether it is in this image or not."""
    for region in case.regions:
        if case.lesion_names & set(region.classes.values()):
            continue
        for name in filter(None, case.labels.get("classes", "").split("; ")):
            mask = region.mask([name])
            if not mask.any():
                yield Reading("no", name, ("classes",), region=region)
            elif mask.sum() >= MIN_STRUCTURE:
                yield Reading("yes", name, ("classes",), region=region, visible=mask)


def _lesion_count(case: Case) -> Iterator[Reading]:
    if case.lesion is not None and len(case.lesion.parts) < len(COUNTS):
        yield on_lesion(case.lesion, str(len(case.lesion.parts)))


def _cells(name: str, *, count: bool) -> Read:
    """Number, or presence, of boxed cells of one kind, where their number was annotated too and agrees."""
    field = f"counts.{name}"

    def read(case: Case) -> Iterator[Reading]:
        boxes = case.named(name)
        if field not in case.labels or int(case.labels[field]) != len(boxes):
            return
        if not count:
            yield Reading("yes" if boxes else "no", fields=(field,), boxes=boxes)
        elif 0 < len(boxes) < len(COUNTS):
            yield Reading(str(len(boxes)), fields=(field,), boxes=boxes)

    return read


def _side(case: Case) -> Iterator[Reading]:
    lesion = case.lesion
    if lesion is None or case.convention is None:
        return
    sides = {patient_side(case.centre(part.xyxy)[0]) for part in lesion.parts}
    told = case.labels.get("laterality")
    answer = sides.pop()
    if not sides and answer is not None and (told is None or answer.endswith(told)):
        yield on_lesion(lesion, answer, ("laterality",) if told else ())


def _both_sides(case: Case) -> Iterator[Reading]:
    lesion = case.lesion
    if lesion is None or case.convention != "frontal" or case.modality != "X-Ray":
        return
    sides = {patient_side(case.centre(part.xyxy)[0]) for part in lesion.parts}
    if None not in sides:
        yield on_lesion(lesion, "both lungs" if len(sides) == 2 else "one lung")


def _quadrant(case: Case) -> Iterator[Reading]:
    lesion = single(case)
    if lesion is None or case.convention is None:
        return
    answer = patient_quadrant(*case.centre(lesion.parts[0].xyxy), case.convention)
    told = case.labels.get("laterality")
    if answer is not None and (told is None or answer.startswith(f"patient's {told}")):
        yield on_lesion(lesion, answer, ("laterality",) if told else ())


def _quarter(case: Case) -> Iterator[Reading]:
    lesion = single(case)
    if lesion is not None and (answer := image_quarter(*case.centre(lesion.parts[0].xyxy))):
        yield on_lesion(lesion, answer)


def _lesion_box(case: Case) -> Iterator[Reading]:
    if lesion := single(case):
        yield on_lesion(lesion, box_text(lesion.parts[0].box(lesion.name), case.width, case.height))


def _thing_box(name: str) -> Read:
    def read(case: Case) -> Iterator[Reading]:
        if len(boxes := case.named(name)) == 1:
            yield Reading(box_text(boxes[0], case.width, case.height), name, boxes=boxes)

    return read


def _cell_quarter(case: Case) -> Iterator[Reading]:
    boxes = case.named("white blood cell")
    if len(boxes) == 1 and (answer := image_quarter(*case.centre(boxes[0].xyxy))):
        yield Reading(answer, "white blood cell", boxes=boxes)


def _disc_half(case: Case) -> Iterator[Reading]:
    boxes = case.named("optic disc")
    if len(boxes) == 1 and (side := patient_side(case.centre(boxes[0].xyxy)[0])):
        yield Reading("left half" if side == "patient's right" else "right half", "optic disc", boxes=boxes)


_OTHER: QuestionType = "Other Biological Attributes"
_SIDES = ("patient's right", "patient's left")
_QUARTERS = ("upper left", "upper right", "lower left", "lower right")
_BOX_STEMS = (
    "Which box holds the {subject}? Boxes are [left, top, right, bottom] in thousandths of the image.",
    "Where is the {subject}? Choose the box, given as [left, top, right, bottom] in thousandths of the image.",
)

TASKS = (
    Task(
        "finding_present",
        "S2",
        "Disease Diagnosis",
        "yes/no",
        "label",
        ("Is there a {subject} in this image?", "Does this image show a {subject}?"),
        _presence,
        after=("region", "projection", "sequence"),
        within="source",
        ordered=YES_NO,
    ),
    Task(
        "reported_finding",
        "S2",
        "Disease Diagnosis",
        "yes/no",
        "label",
        ("Does this radiograph show {subject}?", "Is there {subject} in this radiograph?"),
        _reported,
        after=("finding_present",),
        within="source",
        ordered=YES_NO,
    ),
    Task(
        "structure_present",
        "S2",
        "Anatomy Identification",
        "yes/no",
        "mask",
        ("Is the {subject} visible in this slice?", "Does this slice run through the {subject}?"),
        _structure,
        after=("region",),
        within="source",
        ordered=YES_NO,
    ),
    Task(
        "lesion_count",
        "S2",
        _OTHER,
        "count",
        "mask or boxes",
        ("How many separate areas of {subject} are there?", "Count the separate areas of {subject}."),
        _lesion_count,
        after=("finding_present",),
        ordered=COUNTS,
        states="count",
    ),
    Task(
        "white_cell_count",
        "S2",
        _OTHER,
        "count",
        "boxes",
        ("How many white blood cells are in this field?", "Count the white blood cells."),
        _cells("white blood cell", count=True),
        after=("region", "field_of_view"),
        ordered=COUNTS,
        states="count",
    ),
    Task(
        "platelets_present",
        "S2",
        _OTHER,
        "yes/no",
        "boxes",
        ("Are there platelets in this field?", "Can platelets be seen here?"),
        _cells("platelet", count=False),
        after=("region", "field_of_view"),
        ordered=YES_NO,
    ),
    Task(
        "platelet_count",
        "S2",
        _OTHER,
        "count",
        "boxes",
        ("How many platelets are in this field?", "Count the platelets."),
        _cells("platelet", count=True),
        after=("platelets_present",),
        ordered=COUNTS,
    ),
    Task(
        "lesion_side",
        "S2",
        _OTHER,
        "side",
        "mask or boxes",
        ("On which side of the patient is the {subject}?", "Which side of the patient holds the {subject}?"),
        _side,
        after=("finding_present",),
        ordered=_SIDES,
        states="where",
    ),
    Task(
        "lungs_affected",
        "S2",
        _OTHER,
        "side",
        "mask or boxes",
        ("Is the {subject} in one lung or in both?", "How many lungs does the {subject} involve?"),
        _both_sides,
        after=("finding_present",),
        within="source",
        ordered=("one lung", "both lungs"),
    ),
    Task(
        "lesion_quadrant",
        "S2",
        _OTHER,
        "quadrant",
        "mask or boxes",
        ("In which quadrant of the patient is the {subject}?", "Which quadrant of the patient holds the {subject}?"),
        _quadrant,
        after=("lesion_side", "finding_present"),
        states="where",
    ),
    Task(
        "lesion_quarter",
        "S2",
        _OTHER,
        "quadrant",
        "mask or boxes",
        (
            "In which quarter of the picture is the centre of the {subject}?",
            "Where in the picture does the {subject} lie?",
        ),
        _quarter,
        after=("finding_present",),
        ordered=_QUARTERS,
        states="where",
    ),
    Task(
        "lesion_box",
        "S2",
        _OTHER,
        "box",
        "mask or boxes",
        _BOX_STEMS,
        _lesion_box,
        after=("lesion_quadrant", "lesion_quarter"),
    ),
    Task(
        "disc_half",
        "S2",
        _OTHER,
        "side",
        "boxes",
        (
            "In which half of the picture is the {subject}?",
            "On which side of the picture, not of the patient, is the {subject}?",
        ),
        _disc_half,
        after=("region", "eye"),
        ordered=("left half", "right half"),
        states="where",
    ),
    Task(
        "disc_box",
        "S2",
        _OTHER,
        "box",
        "boxes",
        _BOX_STEMS,
        _thing_box("optic disc"),
        after=("disc_half",),
    ),
    Task(
        "cell_quarter",
        "S2",
        _OTHER,
        "quadrant",
        "boxes",
        ("In which quarter of the picture is the {subject}?", "Where in the picture does the {subject} lie?"),
        _cell_quarter,
        after=("white_cell_count",),
        ordered=_QUARTERS,
        states="where",
    ),
    Task(
        "cell_box",
        "S2",
        _OTHER,
        "box",
        "boxes",
        _BOX_STEMS,
        _thing_box("white blood cell"),
        after=("cell_quarter", "white_cell_count"),
    ),
    Task(
        "lobe",
        "S2",
        "Anatomy Identification",
        "single choice",
        "label",
        ("In which lobe of the brain is the tumour?", "Which lobe does the tumour lie in?"),
        label("location", ("MRI",)),
        after=("lesion_side", "finding_present"),
        within="source",
    ),
)
