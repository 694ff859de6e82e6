"""One annotated image as the tasks see it: labels, boxes and label maps. Checked against the image once, here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medproof.bench.orientation import Convention
from medproof.bench.regions import Levels, Mask, Part, parts
from medproof.datasets.paths import inside
from medproof.datasets.vocabulary import canonical
from medproof.errors import UserError
from medproof.images.decode import decode
from medproof.records import Box, Item

LESIONS = frozenset(
    {
        "pulmonary nodule",
        "tumour",
        "lesion",
        "skin lesion",
        "pneumonia",
        "opacity",
        "ground-glass opacity",
        "consolidation",
    }
)
"""Names, remarks stripped, of what counts as the lesion of an image; bench.yaml adds to them."""
ANNOTATION, ORIENTATION, SPACING, SUBJECT = "annotation", "orientation", "spacing_mm", "subject"
"""Keys of `Item.facts` that hold, beside boxes and mask, what the answer was read from."""
MIRROR = "mirror"
"""Key of the fact that says what mirroring the image does to the answer: "keep" or "flip"; absent where unknown."""


@dataclass(frozen=True)
class Region:
    """A label map: 0 is background, other values as `classes` names them. path: relative to the data root."""

    path: str
    values: npt.NDArray[np.uint8]  # (H, W)
    classes: Mapping[int, str]

    def mask(self, names: Iterable[str]) -> Mask:
        """(H, W), true where a class of one of these names is."""
        wanted = set(names)
        return np.isin(self.values, [value for value, name in self.classes.items() if name in wanted])

    def only(self, names: Iterable[str]) -> Region:
        """The same file, read for these classes only."""
        wanted = set(names)
        return Region(self.path, self.values, {v: name for v, name in self.classes.items() if name in wanted})


@dataclass(frozen=True)
class Lesion:
    """All of the lesion of one image. `mask` is None where only boxes are known."""

    name: str
    boxes: tuple[Box, ...]
    mask: Mask | None
    region: Region | None

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Connected parts of the mask; without a mask, the boxes."""
        if self.mask is not None:
            return parts(self.mask)
        found = []
        for box in self.boxes:
            x0, y0, x1, y1 = (round(edge) for edge in box.xyxy)
            found.append(Part((x0, y0, x1, y1), (x1 - x0) * (y1 - y0)))
        return tuple(found)


@dataclass(frozen=True)
class Case:
    """What is annotated about one image. labels: annotation fields as text. convention: None where unknown."""

    id: str
    modality: str
    width: int
    height: int
    labels: Mapping[str, str]
    boxes: tuple[Box, ...] = ()
    regions: tuple[Region, ...] = ()
    convention: Convention | None = None
    spacing_mm: float | None = None
    lesion_names: frozenset[str] = LESIONS
    source: str = ""
    grey: Callable[[], Levels] = field(default=lambda: np.zeros((0, 0), np.uint8), repr=False, compare=False)

    @cached_property
    def lesion(self) -> Lesion | None:
        """The lesion, by its mask where there is one."""
        for region in self.regions:
            names = [name for name in region.classes.values() if name in self.lesion_names]
            mask = region.mask(names)
            if mask.any():
                boxes = tuple(part.box(names[0]) for part in parts(mask))
                return Lesion(names[0], boxes, mask, region.only(names))
        boxes = tuple(box for box in self.boxes if canonical(box.label) in self.lesion_names)
        return Lesion(canonical(boxes[0].label), boxes, None, None) if boxes else None

    def named(self, *names: str) -> tuple[Box, ...]:
        """The boxes with one of these labels, remarks stripped."""
        return tuple(box for box in self.boxes if canonical(box.label) in names)

    def region_with(self, *names: str) -> Region | None:
        """The first label map that has all of these classes."""
        return next((region for region in self.regions if set(names) <= set(region.classes.values())), None)

    def centre(self, xyxy: tuple[float, float, float, float]) -> tuple[float, float]:
        """Centre of a box as shares (x, y) of width and height."""
        return (xyxy[0] + xyxy[2]) / 2 / self.width, (xyxy[1] + xyxy[3]) / 2 / self.height


def make_region(
    path: str, values: npt.NDArray[np.uint8], classes: Mapping[int, str], size: tuple[int, int], whose: str
) -> Region:
    """A label map with the classes that occur in it. size: (height, width) of the image.

    Raises UserError where the two do not match, where it is empty, and for a value without a name.
    """
    height, width = size
    if values.shape != (height, width):
        raise UserError(
            f"{whose}: the mask {path!r} has {values.shape[1]}x{values.shape[0]} pixels, its image {width}x{height}; "
            "give a mask of the image's size"
        )
    if not values.any():
        raise UserError(f"{whose}: the mask {path!r} is empty; leave it out or give the right file")
    present = sorted(int(value) for value in np.unique(values) if value)
    unknown = [value for value in present if value not in classes]
    if unknown and len(classes) == 1 and present == unknown:  # one class, whatever its value: binary masks
        classes = dict.fromkeys(present, next(iter(classes.values())))
    elif unknown:
        raise UserError(f"{whose}: the mask {path!r} holds the value {unknown[0]}, which mask_classes does not name")
    return Region(path, values, {value: canonical(classes[value]) for value in present})


def check_boxes(boxes: Iterable[Box], width: int, height: int, whose: str) -> None:
    """Raise UserError for a box that leaves the image."""
    for box in boxes:
        if box.xyxy[2] > width or box.xyxy[3] > height:
            edges = ", ".join(f"{edge:g}" for edge in box.xyxy)
            raise UserError(
                f"{whose}: the box {box.label!r} [{edges}] leaves the image of {width}x{height} pixels; "
                "give pixel edges of the stored image"
            )


def grey_reader(root: Path, image: str, frame: int | None = None, window: str | None = None) -> Callable[[], Levels]:
    """A function that decodes the image to (H, W) grey levels."""

    def read() -> Levels:
        pixels = decode(inside(root, image), frame=frame, window=window).pixels
        return np.asarray(pixels.mean(axis=2).round(), dtype=np.uint8)

    return read


def stored_case(item: Item, root: Path, lesion_names: frozenset[str] = LESIONS) -> Case:
    """The case again, from nothing but what `item` stores: its evidence, and the annotation named in its facts."""
    evidence = item.evidence
    if evidence is None or item.width is None or item.height is None:
        raise ValueError(f"item {item.id!r} stores no evidence or no size: it was not built here")
    regions: tuple[Region, ...] = ()
    if evidence.mask is not None:
        classes = {int(value): name for value, name in evidence.mask_classes.items()}
        values = np.ascontiguousarray(decode(inside(root, evidence.mask)).pixels[:, :, 0])
        regions = (Region(evidence.mask, values, classes),)
    facts = item.facts
    convention = facts.get(ORIENTATION)
    return Case(
        id=item.case,
        modality=item.modality,
        width=item.width,
        height=item.height,
        labels=json.loads(facts.get(ANNOTATION, "{}")),
        boxes=evidence.boxes,
        regions=regions,
        convention=convention if convention in ("axial", "frontal") else None,  # type: ignore[arg-type]
        spacing_mm=float(facts[SPACING]) if SPACING in facts else None,
        lesion_names=lesion_names,
        source=item.source.partition(":")[0],
        grey=grey_reader(root, item.image, item.frame, item.window),
    )
