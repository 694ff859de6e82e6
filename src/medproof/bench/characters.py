"""S3: size, shape, border, brightness, attributes. Read from masks and attribute labels.

Bins have a margin: a value near an edge between two of them is not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from medproof.bench.case import Case, Lesion
from medproof.bench.findings import COUNTS, YES_NO, on_lesion, single
from medproof.bench.regions import contrast, diameter, eccentricity, parts, solidity
from medproof.bench.task import Reading, Task, binned
from medproof.records import QuestionType

AREAS = ("less than 2 % of the image", "2 to 8 % of the image", "8 to 25 % of the image", "more than 25 % of the image")
AREA_EDGES = (0.02, 0.08, 0.25)
SHAPES = ("nearly round", "oval", "elongated")
SHAPE_EDGES = (0.6, 0.83)
BORDERS = ("indented", "smooth")
SOLIDITY_EDGES = (0.92,)
DIAMETERS = ("below 10 mm", "10 to 20 mm", "20 to 30 mm", "above 30 mm")
DIAMETER_EDGES = (10.0, 20.0, 30.0)
NUCLEI = ("less than half of the cell", "more than half of the cell")
MIN_CONTRAST = 10.0
"""Grey levels by which inside and ring must differ before one is called brighter."""
_MIN_AREA = 30
"""Shapes of fewer pixels are not judged."""

Judge = Callable[[Case, Lesion], str | None]


def _judged(judge: Judge, modalities: tuple[str, ...] = ()) -> Callable[[Case], Iterator[Reading]]:
    """Reads a property of a lesion that is outlined by a mask in one piece."""

    def read(case: Case) -> Iterator[Reading]:
        lesion = single(case)
        if lesion is None or lesion.mask is None or (modalities and case.modality not in modalities):
            return
        if lesion.parts[0].area >= _MIN_AREA and (answer := judge(case, lesion)) is not None:
            yield on_lesion(lesion, answer)

    return read


def _area(case: Case, lesion: Lesion) -> str | None:
    return binned(lesion.parts[0].area / (case.width * case.height), AREA_EDGES, AREAS, 0.1)


def _shape(_: Case, lesion: Lesion) -> str | None:
    assert lesion.mask is not None
    return binned(eccentricity(lesion.mask), SHAPE_EDGES, SHAPES, 0.04)


def _border(_: Case, lesion: Lesion) -> str | None:
    assert lesion.mask is not None
    return binned(solidity(lesion.mask), SOLIDITY_EDGES, BORDERS, 0.02)


def _axis(_: Case, lesion: Lesion) -> str | None:
    x0, y0, x1, y1 = lesion.parts[0].xyxy
    return binned((x1 - x0) / (y1 - y0), (1.0,), ("taller than wide", "wider than tall"), 0.15)


def _brightness(case: Case, lesion: Lesion) -> str | None:
    assert lesion.mask is not None
    difference = contrast(case.grey(), lesion.mask, margin=max(2, min(case.width, case.height) // 32))
    if difference is None or abs(difference) < MIN_CONTRAST:
        return None
    return "brighter" if difference > 0 else "darker"


def _cut_off(case: Case, lesion: Lesion) -> str | None:
    x0, y0, x1, y1 = lesion.parts[0].xyxy
    return "yes" if x0 == 0 or y0 == 0 or x1 == case.width or y1 == case.height else "no"


def _diameter(case: Case, lesion: Lesion) -> str | None:
    assert lesion.mask is not None
    if case.spacing_mm is None:
        return None
    return binned(diameter(lesion.mask) * case.spacing_mm, DIAMETER_EDGES, DIAMETERS, 0.1)


_ASYMMETRY = {"0": "symmetric", "1": "asymmetric in one axis", "2": "asymmetric in two axes"}


def _asymmetry(case: Case) -> Iterator[Reading]:
    """PH2's dermoscopic criterion: not a grade of disease."""
    if case.modality != "Dermoscopy" or case.lesion is None or case.labels.get("grade") not in _ASYMMETRY:
        return
    yield on_lesion(case.lesion, _ASYMMETRY[case.labels["grade"]], ("grade",))


def _opacity(case: Case) -> Iterator[Reading]:
    boxes = case.named("ground-glass opacity", "consolidation")
    kinds = sorted({box.label for box in boxes})
    if boxes and case.modality == "X-Ray":
        yield Reading("both" if len(kinds) == 2 else kinds[0], boxes=boxes)


def _heart(case: Case) -> Iterator[Reading]:
    region = case.region_with("right lung", "left lung", "cardiomediastinum")
    if region is None:
        return
    widths = []
    for names in (["cardiomediastinum"], ["right lung", "left lung"]):
        columns = np.flatnonzero(region.mask(names).any(axis=0))
        widths.append(int(columns[-1] - columns[0] + 1))
    if answer := binned(widths[0] / widths[1], (0.5,), ("no", "yes"), 0.04):
        yield Reading(answer, region=region)


def _larger_lung(case: Case) -> Iterator[Reading]:
    region = case.region_with("right lung", "left lung")
    if region is not None:
        right, left = (int(region.mask([name]).sum()) for name in ("right lung", "left lung"))
        if answer := binned(right / left, (1.0,), ("patient's left", "patient's right"), 0.15):
            yield Reading(answer, region=region)


def _nucleus_share(case: Case) -> Iterator[Reading]:
    if region := case.region_with("nucleus", "cytoplasm"):
        share = region.mask(["nucleus"]).sum() / region.mask(["nucleus", "cytoplasm"]).sum()
        if answer := binned(float(share), (0.5,), NUCLEI, 0.08):
            yield Reading(answer, region=region)


def _nucleus_parts(case: Case) -> Iterator[Reading]:
    if region := case.region_with("nucleus"):
        found = parts(region.mask(["nucleus"]))
        # a speck is neither a lobe nor nothing
        if min(part.area for part in found) >= _MIN_AREA and len(found) < len(COUNTS):
            yield Reading(str(len(found)), region=region.only(["nucleus"]))


_OTHER: QuestionType = "Other Biological Attributes"
_PLACED = ("lesion_box", "lesion_quadrant", "lesion_quarter", "lesion_count")


def _lesion_task(slug: str, stems: tuple[str, ...], judge: Judge, ordered: tuple[str, ...]) -> Task:
    return Task(slug, "S3", _OTHER, "single choice", "mask", stems, _judged(judge), _PLACED, ordered=ordered)


TASKS = (
    _lesion_task(
        "lesion_area",
        ("How much of the image does the {subject} cover?", "What share of the image is taken up by the {subject}?"),
        _area,
        AREAS,
    ),
    _lesion_task(
        "lesion_shape",
        ("What is the overall shape of the {subject}?", "How would you describe the outline of the {subject}?"),
        _shape,
        SHAPES,
    ),
    _lesion_task(
        "lesion_border",
        ("Is the border of the {subject} smooth or indented?", "How does the border of the {subject} run?"),
        _border,
        BORDERS,
    ),
    Task(
        "lesion_axis",
        "S3",
        _OTHER,
        "single choice",
        "mask",
        ("Is the {subject} wider than tall?", "How does the {subject} lie in relation to the skin?"),
        _judged(_axis, ("Ultrasound",)),
        _PLACED,
        within="source",
        ordered=("wider than tall", "taller than wide"),
    ),
    Task(
        "lesion_brightness",
        "S3",
        _OTHER,
        "single choice",
        "mask and pixels",
        ("Is the {subject} brighter or darker than its surroundings?", "How bright is the {subject}, next to its rim?"),
        _judged(_brightness),
        _PLACED,
        ordered=("brighter", "darker"),
    ),
    Task(
        "lesion_cut_off",
        "S3",
        _OTHER,
        "yes/no",
        "mask",
        ("Is the {subject} cut off by the edge of the image?", "Does the {subject} reach the edge of the image?"),
        _judged(_cut_off),
        _PLACED,
        ordered=YES_NO,
    ),
    _lesion_task(
        "lesion_diameter",
        ("What is the largest diameter of the {subject}?", "How long is the {subject} across?"),
        _diameter,
        DIAMETERS,
    ),
    Task(
        "asymmetry",
        "S3",
        _OTHER,
        "grade",
        "label",
        ("How symmetric is the {subject}?", "Rate the asymmetry of the {subject}."),
        _asymmetry,
        _PLACED,
        within="source",
        ordered=tuple(_ASYMMETRY.values()),
    ),
    Task(
        "opacity_kind",
        "S3",
        _OTHER,
        "single choice",
        "boxes",
        ("What kind of opacity do the lungs show?", "Of which kind are the opacities?"),
        _opacity,
        ("lungs_affected", "lesion_count"),
        within="source",
        ordered=("ground-glass opacity", "consolidation", "both"),
    ),
    Task(
        "heart_width",
        "S3",
        _OTHER,
        "yes/no",
        "mask",
        (
            "Is the heart shadow wider than half of the chest?",
            "Does the heart shadow take up more than half of the width of the lungs?",
        ),
        _heart,
        ("projection", "region"),
        within="source",
        ordered=YES_NO,
    ),
    Task(
        "larger_lung",
        "S3",
        _OTHER,
        "side",
        "mask",
        ("On which side of the patient does the lung look larger?", "Which lung takes up more of the image?"),
        _larger_lung,
        ("projection", "region"),
        within="source",
        ordered=("patient's right", "patient's left"),
    ),
    Task(
        "nucleus_share",
        "S3",
        _OTHER,
        "single choice",
        "mask",
        ("How much of the cell does its nucleus fill?", "How large is the nucleus, compared with the whole cell?"),
        _nucleus_share,
        ("region", "field_of_view"),
        ordered=NUCLEI,
    ),
    Task(
        "nucleus_parts",
        "S3",
        _OTHER,
        "count",
        "mask",
        ("In how many separate pieces does the nucleus appear?", "Count the separate pieces of the nucleus."),
        _nucleus_parts,
        ("region", "field_of_view"),
        ordered=COUNTS,
    ),
)
