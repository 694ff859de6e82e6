"""From rows to checked cases: images and label maps read once, sizes compared, orientation settled, splits made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medproof.bench import segmentation
from medproof.bench.case import Case, Region, check_boxes, grey_reader, make_region
from medproof.bench.orientation import CONVENTIONS, Convention
from medproof.bench.rows import BenchRow, read_rows
from medproof.bench.spec import BenchSpec, as_text
from medproof.bench.splits import Member, assign
from medproof.datasets.audit.overlap import look
from medproof.datasets.paths import inside
from medproof.datasets.vocabulary import canonical
from medproof.errors import UserError
from medproof.images.decode import decode
from medproof.records import Split

Progress = Callable[[str, int, int], None]
LabelMap = npt.NDArray[np.uint8]

_ORGANS = (
    "spleen",
    "right kidney",
    "left kidney",
    "gallbladder",
    "liver",
    "stomach",
    "pancreas",
    "aorta",
    "inferior vena cava",
)
LOOKED_FOR: Mapping[str, tuple[str, ...]] = {"wasserth/TotalSegmentator": _ORGANS}
"""Sources whose rows name only the classes that are present, and all that was looked for in them."""
_FIELDS = ("label", "anatomy", "grade", "laterality", "view", "sequence", "contrast", "location", "findings")
COUNTED = ("white blood cell", "platelet")
_NAMES = ("modality", "label", "anatomy")


@dataclass(frozen=True)
class Source:
    """One image: its row, its case, its split, how its file is shown. converted: label maps to write, by path."""

    row: BenchRow
    case: Case
    split: Split
    frame: int | None
    window: str | None
    converted: Mapping[str, LabelMap]


@dataclass(frozen=True)
class Corpus:
    """`warnings`: one line each, for the user. `dropped`: images left out, by reason."""

    sources: tuple[Source, ...]
    warnings: tuple[str, ...]
    dropped: Counter[str]


def prepare(spec: BenchSpec, root: Path, seed: int, progress: Progress | None = None) -> Corpus:
    """Read and check a whole corpus. Raises UserError at the first row that is wrong."""
    rows = read_rows(spec, root)
    warnings = []
    if all(row.patient is None for row in rows):
        warnings.append("the corpus names no patients: split by image, so train and test may share patients")
    unpaired = []
    for number, row in enumerate(rows, 1):
        unpaired.append(_source(row, spec, root))
        if progress is not None:
            progress("reading images", number, len(rows))
    members = [
        Member(s.row.id, s.row.patient, s.row.split, look(inside(root, s.row.image), s.frame, s.window))
        for s in unpaired
    ]
    splits = assign(members, spec.test_share, seed)
    sources = tuple(
        Source(s.row, s.case, splits.split_of[s.row.id], s.frame, s.window, s.converted)
        for s in unpaired
        if s.row.id in splits.split_of
    )
    return Corpus(sources, tuple(warnings), Counter(f"test image left out: {why}" for why in splits.dropped.values()))


def _source(row: BenchRow, spec: BenchSpec, root: Path) -> Source:
    image = inside(root, row.image)
    frame = row.frame
    volume = row.mask is not None and segmentation.is_nifti(inside(root, row.mask))
    if frame is None and volume and segmentation.is_nifti(image) and row.mask is not None:
        frame = segmentation.fullest_slice(inside(root, row.mask))
    # in other formats the field tells how the picture was made
    window = row.window if segmentation.is_nifti(image) or segmentation.is_dicom(image) else None
    height, width = decode(image, frame=frame, window=window).pixels.shape[:2]
    if (row.width or width, row.height or height) != (width, height):
        raise UserError(
            f"{row.where}: the image {row.image!r} has {width}x{height} pixels, its row says {row.width}x{row.height}; "
            "correct the row"
        )
    check_boxes(row.boxes, width, height, row.where)
    regions, converted = _regions(row, root, (height, width), frame)
    stated = segmentation.geometry(image, frame)
    modality = canonical(row.modality)
    case = Case(
        id=row.id,
        modality=modality,
        width=width,
        height=height,
        labels=_labels(row),
        boxes=row.boxes,
        regions=regions,
        convention=row.orientation or _convention(spec, row.repository, modality) or stated.convention,
        spacing_mm=row.spacing_mm or stated.spacing_mm,
        lesion_names=spec.lesion_names,
        source=row.repository,
        grey=grey_reader(root, row.image, frame, window),
    )
    return Source(row, case, row.split or "test", frame, window, converted)


def _convention(spec: BenchSpec, source: str, modality: str) -> Convention | None:
    told = spec.orientation.get(source) or spec.orientation.get(modality)
    return told or (CONVENTIONS[source][0] if source in CONVENTIONS else None)


def _regions(
    row: BenchRow, root: Path, size: tuple[int, int], frame: int | None
) -> tuple[tuple[Region, ...], dict[str, LabelMap]]:
    """Label maps of a row, that of the lesion first; and those that have to be written as PNG."""
    found: list[Region] = []
    converted: dict[str, LabelMap] = {}
    if row.lesion_mask is not None:
        values = _label_map(root, row.lesion_mask, row, frame)[0]
        found.append(make_region(row.lesion_mask, values, {255: "opacity"}, size, row.where))
    if row.mask is not None:
        values, names = _label_map(root, row.mask, row, frame)
        classes = _classes(row) or names or {255: row.boxes[0].label if row.boxes else "lesion"}
        path = row.mask
        if not path.endswith(".png"):
            path = f"masks/converted/{row.id}.png"
            converted[path] = values
        found.append(make_region(path, values, classes, size, row.where))
    return tuple(found), converted


def _classes(row: BenchRow) -> dict[int, str]:
    try:
        return {int(value): name for value, name in row.mask_classes.items()}
    except ValueError as error:
        raise UserError(f"{row.where}: mask_classes has a key that is no number; write {{1: name}}") from error


def _label_map(root: Path, path: str, row: BenchRow, frame: int | None) -> tuple[LabelMap, dict[int, str]]:
    """(H, W) labels, and names where the file itself gives them."""
    file = inside(root, path)
    if segmentation.is_nifti(file):
        return segmentation.nifti_slice(file, 0 if frame is None else frame), {}
    if segmentation.is_dicom(file):
        return segmentation.dicom_segmentation(file, inside(root, row.image), frame)
    return np.ascontiguousarray(decode(file).pixels[:, :, 0]), {}


def _labels(row: BenchRow) -> dict[str, str]:
    """The label fields of a row as text, synonyms merged; unknown values are left out."""
    found = {"modality": canonical(row.modality)}
    for name in _FIELDS:
        value = getattr(row, name)
        if value not in (None, (), "", "unknown"):
            found[name] = canonical(value) if name in _NAMES else as_text(value)
    if row.diabetic_macular_edema is not None:
        found["diabetic_macular_edema"] = as_text(row.diabetic_macular_edema)
    if row.counts is not None:
        # a count table leaves zeros out
        found |= {f"counts.{name}": str(row.counts.get(name, 0)) for name in sorted({*row.counts, *COUNTED})}
    if classes := LOOKED_FOR.get(row.repository) or tuple(map(canonical, row.mask_classes.values())):
        found["classes"] = "; ".join(sorted(classes))
    return found | {name: as_text(value) for name, value in row.attributes.items()}
