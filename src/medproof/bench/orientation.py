"""From a place in the picture to a side or quadrant of the patient, where the convention of the source is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Convention = Literal["axial", "frontal"]
"""Both show the patient's right on the left of the picture. axial: the front of the body is at the top, as in CT and
MRI seen from the feet; frontal: the head is at the top, as in a chest radiograph read face to face."""

CONVENTIONS: Mapping[str, tuple[Convention, str]] = {
    "TruongVanHien194276/Brain_Segmentation_data": (
        "axial",
        "106 of 107 lateralities of the source's table agree with the masks this way round",
    ),
    "wasserth/TotalSegmentator": ("axial", "slices were turned to radiological convention; the liver lies on the left"),
    "muhammedtalo/COVID-19": ("frontal", "AP and PA chest radiographs of NIH ChestX-ray14, stored in display order"),
    "GeneralBlockchain/covid-19-chest-xray-segmentations-dataset": (
        "frontal",
        "the mask class 'right lung' lies on the left of the picture",
    ),
}
"""By source (`owner/name`): convention, and how it is known. Other sources are asked about the picture only.

LIDC-IDRI patches are axial too, but cut out: where the patient's midline lies is not known.
"""

MIDLINE_MARGIN = 0.06
"""A place nearer to a midline than this share of the width or height is on neither side of it."""


def patient_side(x: float) -> str | None:
    """Side of the patient at the share `x` of the width, under either convention; None near the midline."""
    if abs(x - 0.5) < MIDLINE_MARGIN:
        return None
    return "patient's right" if x < 0.5 else "patient's left"


def patient_quadrant(x: float, y: float, convention: Convention) -> str | None:
    """ "patient's right, anterior" (axial) or "patient's right, upper" (frontal) and so on; None near a midline."""
    side = patient_side(x)
    if side is None or abs(y - 0.5) < MIDLINE_MARGIN:
        return None
    top, bottom = ("anterior", "posterior") if convention == "axial" else ("upper", "lower")
    return f"{side}, {top if y < 0.5 else bottom}"


def image_quarter(x: float, y: float) -> str | None:
    """ "upper left" and so on, of the picture; None near a midline."""
    if min(abs(x - 0.5), abs(y - 0.5)) < MIDLINE_MARGIN:
        return None
    return f"{'upper' if y < 0.5 else 'lower'} {'left' if x < 0.5 else 'right'}"
