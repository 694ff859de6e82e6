"""Where a lesion lies in the stored image, in words. Image sides, not patient sides."""

from medproof.datasets.corpus import Row
from medproof.datasets.vocabulary import canonical
from medproof.records import Box

LESIONS = frozenset({"pulmonary nodule", "tumour", "lesion", "skin lesion", "pneumonia"})
"""Box labels of lesions, remarks stripped."""

TARGETS = LESIONS | {"white blood cell", "optic disc"}
"""Box labels that one may ask the place of; organs and red cells are not among them."""

QUADRANT_MARGIN = 0.06
"""Centre at least this share of the width and of the height off both midlines: then a quadrant is unambiguous."""

WORD_MARGIN = 0.05
"""A centre nearer to a midline than this is called neither side of it."""


def target(row: Row) -> tuple[str, Box] | None:
    """Name and box of the one thing whose place is known; None where there is none or more than one."""
    found = [(canonical(box.label), box) for box in row.boxes if canonical(box.label) in TARGETS]
    return found[0] if len(found) == 1 else None


def centre(row: Row, box: Box) -> tuple[float, float]:
    """Centre of `box` as shares (x, y) of width and height, in [0, 1]."""
    x0, y0, x1, y1 = box.xyxy
    return (x0 + x1) / 2 / row.width, (y0 + y1) / 2 / row.height


def quadrant(row: Row, box: Box) -> str | None:
    """ "upper left" and so on; None where the centre is too near a midline."""
    x, y = centre(row, box)
    if min(abs(x - 0.5), abs(y - 0.5)) < QUADRANT_MARGIN:
        return None
    return f"{'upper' if y < 0.5 else 'lower'} {'left' if x < 0.5 else 'right'}"


def phrase(row: Row, box: Box) -> str:
    """A phrase for a rationale: "upper left of the image", "left of the image",
    "lower part of the image", "centre of the image"."""
    x, y = centre(row, box)
    vertical = "" if abs(y - 0.5) < WORD_MARGIN else ("upper" if y < 0.5 else "lower")
    horizontal = "" if abs(x - 0.5) < WORD_MARGIN else ("left" if x < 0.5 else "right")
    if vertical and not horizontal:
        return f"{vertical} part of the image"
    return f"{' '.join(filter(None, (vertical, horizontal))) or 'centre'} of the image"


def area_share(row: Row, box: Box) -> float:
    """Area of `box` as a share of the image, in (0, 1]."""
    x0, y0, x1, y1 = box.xyxy
    return (x1 - x0) * (y1 - y0) / (row.width * row.height)
