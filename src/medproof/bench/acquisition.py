"""S1: how the image was acquired, and what it shows. Read from labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from medproof.bench.case import Case
from medproof.bench.task import Reading, Task

Read = Callable[[Case], Iterator[Reading]]


def label(field: str, modalities: tuple[str, ...] = (), names: Mapping[str, str] | None = None) -> Read:
    """Reads one label field of the given modalities (none: all). names: answers by value; others are not asked."""

    def read(case: Case) -> Iterator[Reading]:
        value = case.labels.get(field)
        if value is None or (modalities and case.modality not in modalities):
            return
        answer = value if names is None else names.get(value)
        if answer is not None:
            yield Reading(answer, fields=(field,))

    return read


_CONTRAST = {"true": "yes", "false": "no"}
_PROJECTION = {"AP": "anteroposterior (AP)", "PA": "posteroanterior (PA)"}
_FIELD = {"light microscopy, single-cell crop": "a single cell", "light microscopy, smear field": "a field of a smear"}
_EYE = {"left": "left eye", "right": "right eye"}
_LEVELS = {
    name: name for name in ("chest", "abdomen", "pelvis", "shoulder girdle and thoracic inlet", "head", "neck", "thigh")
}

TASKS = (
    Task(
        "modality",
        "S1",
        "Modality Recognition",
        "single choice",
        "label",
        (
            "Which imaging modality produced this image?",
            "How was this image acquired?",
            "Name the imaging technique used here.",
        ),
        label("modality"),
        within="all",
    ),
    Task(
        "region",
        "S1",
        "Anatomy Identification",
        "single choice",
        "label",
        (
            "Which body part is examined in this image?",
            "What anatomy does this image show?",
            "What tissue or region was imaged?",
        ),
        label("anatomy"),
        after=("modality",),
        within="all",
    ),
    Task(
        "slice_level",
        "S1",
        "Anatomy Identification",
        "single choice",
        "label",
        ("At which level of the body was this CT slice taken?", "Through which part of the body does this slice run?"),
        label("anatomy", ("CT",), _LEVELS),
        after=("modality",),
        within="source",
    ),
    Task(
        "projection",
        "S1",
        "Other Biological Attributes",
        "single choice",
        "label",
        ("Which projection is this?", "How did the beam pass through the patient?"),
        label("view", ("X-Ray",), _PROJECTION),
        after=("region",),
        within="source",
    ),
    Task(
        "field_of_view",
        "S1",
        "Other Biological Attributes",
        "single choice",
        "label",
        ("What does this microscopic image hold?", "What is the field of view of this image?"),
        label("view", ("Microscopy",), _FIELD),
        after=("modality",),
    ),
    Task(
        "sequence",
        "S1",
        "Other Biological Attributes",
        "single choice",
        "label",
        ("Which MRI sequence is this?", "How is this image weighted?"),
        label("sequence", ("MRI",)),
        after=("modality",),
        within="source",
    ),
    Task(
        "contrast",
        "S1",
        "Other Biological Attributes",
        "yes/no",
        "label",
        ("Was contrast medium given for this scan?", "Is this scan contrast enhanced?"),
        label("contrast", ("CT",), _CONTRAST),
        after=("region",),
        within="source",
        ordered=("yes", "no"),
    ),
    Task(
        "eye",
        "S1",
        "Other Biological Attributes",
        "side",
        "label",
        ("Which eye is this?", "From which eye was this image taken?"),
        label("laterality", ("Fundus Photography",), _EYE),
        after=("region",),
        within="source",
    ),
)
