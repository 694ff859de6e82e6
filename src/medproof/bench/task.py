"""What a task category is: a question, and the rule that reads its answer off an annotated image."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from medproof.bench.case import Case, Region
from medproof.bench.regions import Mask
from medproof.records import Box, Item, QuestionType, Stage

Format = Literal["single choice", "yes/no", "count", "side", "quadrant", "box", "grade"]
Annotation = Literal["label", "boxes", "mask", "mask or boxes", "mask and pixels"]
Within = Literal["all", "modality", "source"]


@dataclass(frozen=True)
class Reading:
    """The answer of one image, and exactly what it was read from: the evidence that is stored with the item.

    fields: keys of `Case.labels` that were read. With neither boxes nor region the evidence is the whole image.
    group: readings of different groups never share options. visible: what must be seen; default: region, else boxes.
    """

    answer: str
    subject: str = ""
    fields: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    region: Region | None = None
    group: str = ""
    visible: Mask | None = None


@dataclass(frozen=True)
class Task:
    """One task category.

    read: the readings an annotated image supports; of several (of different subjects) at most one becomes an item.
    stems: wordings; "{subject}" and, in tasks of a bench.yaml, fields of the row are filled in.
    after: tasks it builds on. Where a case has no item of one, those that one builds on take its place.
    within: readings lend each other their answers as options within all images, a modality, or one source of a
        modality. Labels stay within a source, so that the look of a source cannot give the answer away.
    ordered: the natural order of answers, in which options are then listed.
    states: which fact of a rationale the answer is ("where", "count", ...).
    """

    slug: str
    stage: Stage
    question_type: QuestionType
    format: Format
    annotation: Annotation
    stems: tuple[str, ...]
    read: Callable[[Case], Iterable[Reading]]
    after: tuple[str, ...] = ()
    within: Within = "modality"
    ordered: tuple[str, ...] = ()
    states: str | None = None


def task_of(item: Item) -> str:
    """Slug of the item's task category: the end of its id "<case>/<task>"."""
    return item.id.rpartition("/")[2]


def binned(value: float, edges: tuple[float, ...], names: tuple[str, ...], margin: float) -> str | None:
    """Name of the bin that `value` falls in; None within a factor 1 + margin of an edge."""
    if any(edge / (1 + margin) < value < edge * (1 + margin) for edge in edges):
        return None
    return names[sum(value >= edge for edge in edges)]
