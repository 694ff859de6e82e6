"""Label maps in medical formats, cut to the picture they belong to: NIfTI volumes and DICOM segmentations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medproof.bench.orientation import Convention
from medproof.errors import UserError
from medproof.images.decode import decode
from medproof.images.decoded import reading

LabelMap = npt.NDArray[np.uint8]

_AS_STORED = "127.5/255"
"""The window that maps the integers 0..255 to themselves."""
_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
_CONVENTIONS: dict[tuple[int, ...], Convention] = {(1, 0, 0, 0, 1, 0): "axial", (1, 0, 0, 0, 0, -1): "frontal"}
"""By direction of rows and columns (PS3.3 C.7.6.2.1.1)."""


@dataclass(frozen=True)
class Geometry:
    """What a file says of its own orientation and spacing; spacing only where pixels are square."""

    convention: Convention | None
    spacing_mm: float | None


def is_nifti(path: Path) -> bool:
    return path.name.endswith((".nii", ".nii.gz"))


def is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def slices(path: Path) -> int:
    """Axial slices of a NIfTI volume."""
    return int(decode(path, frame=0, window=_AS_STORED).info.get("frame", "0 of 1").rpartition(" ")[2])


def nifti_slice(path: Path, index: int) -> LabelMap:
    """(H, W) labels of one axial slice, turned as `images.nifti` turns the picture."""
    return np.ascontiguousarray(decode(path, frame=index, window=_AS_STORED).pixels[:, :, 0])


def fullest_slice(path: Path) -> int:
    """The axial slice with most labelled pixels; of equals the lowest."""
    return int(np.argmax([int((nifti_slice(path, index) > 0).sum()) for index in range(slices(path))]))


def dicom_segmentation(path: Path, image: Path, frame: int | None) -> tuple[LabelMap, dict[int, str]]:
    """(H, W) labels of the frames that refer to `image`, by segment number, and the segments' names.

    Where segments overlap the higher number wins. Raises UserError where nothing refers to the image.
    """
    with reading(path, "DICOM segmentation"):
        import pydicom

        stored = pydicom.dcmread(path)
        if stored.SOPClassUID != _SEGMENTATION:
            raise UserError(f"{path} is no DICOM segmentation; give one, a NIfTI label map, or a PNG mask")
        wanted = (str(pydicom.dcmread(image, stop_before_pixels=True).SOPInstanceUID), (frame or 0) + 1)
        names = {int(s.SegmentNumber): str(s.SegmentLabel) for s in stored.SegmentSequence}
        pixels = stored.pixel_array.reshape(-1, stored.Rows, stored.Columns)
        labels = np.zeros(pixels.shape[1:], dtype=np.uint8)
        groups = stored.PerFrameFunctionalGroupsSequence
        numbers = [int(g.SegmentIdentificationSequence[0].ReferencedSegmentNumber) for g in groups]
        hits = [index for index, group in enumerate(groups) if wanted in _sources(group)]
        for index in sorted(hits, key=numbers.__getitem__):
            labels[pixels[index] > 0] = numbers[index]
    if not hits:
        raise UserError(f"{path} segments another image than {image.name}; give the segmentation of this image")
    return labels, names


def _sources(group: Any) -> set[tuple[str, int]]:
    """(SOP instance, frame from 1) of the images that one frame of a segmentation was drawn on."""
    found = set()
    for derivation in group.get("DerivationImageSequence") or []:
        for source in derivation.get("SourceImageSequence") or []:
            found.add((str(source.ReferencedSOPInstanceUID), int(source.get("ReferencedFrameNumber") or 1)))
    return found


def geometry(path: Path, frame: int | None) -> Geometry:
    """Orientation and spacing that the image file itself states. Nothing for PNG and its kin."""
    if is_nifti(path):
        info = decode(path, frame=frame, window=_AS_STORED).info
        known = info["orientation"] == "axial, patient right on image left"
        return Geometry("axial" if known else None, _square(info.get("spacing")))
    if is_dicom(path):
        with reading(path, "DICOM"):
            import pydicom

            header = pydicom.dcmread(path, stop_before_pixels=True)
            directions = tuple(round(float(value)) for value in header.get("ImageOrientationPatient") or ())
            exact = all(
                abs(float(v) - d) < 0.1 for v, d in zip(header.get("ImageOrientationPatient") or (), directions)
            )
            spacing = header.get("PixelSpacing")
            text = f"{float(spacing[0]):g} x {float(spacing[1]):g} mm" if spacing else None
        return Geometry(_CONVENTIONS.get(directions) if exact else None, _square(text))
    return Geometry(None, None)


def _square(spacing: str | None) -> float | None:
    """Millimetres of "0.7 x 0.7 mm"; None for oblong pixels and for the plane of a detector."""
    if spacing is None or not spacing.endswith(" mm"):
        return None
    rows, columns = (float(text) for text in spacing.removesuffix(" mm").split(" x "))
    return rows if abs(rows - columns) <= 0.01 * rows else None
