"""DICOM to 8-bit RGB: modality LUT or rescale -> VOI LUT or window -> MONOCHROME1 inversion (PS3.3 C.7.6.3, C.11).

Needs the extra `[dicom]`; pydicom is imported only here, and only when a DICOM is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medproof.errors import UserError
from medproof.images.decoded import Decoded, check_size, check_volume, choose_frame, gray_to_rgb, reading
from medproof.images.grayscale import display_levels, modality_values
from medproof.images.windows import to_levels

if TYPE_CHECKING:
    from pydicom import Dataset

_DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.8.1")
_FRAME_MACROS = ("PixelMeasuresSequence", "PixelValueTransformationSequence", "FrameVOILUTSequence")
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


def check_dicom(path: Path, frame: int | None = None, allow_identified: bool = False) -> None:
    """Header only: format, de-identification, size, frame, whether it can be decompressed. Raises UserError."""
    with reading(path, "DICOM"):
        _read_header(path, frame, allow_identified)


def decode_dicom(
    path: Path, frame: int | None = None, window: str | None = None, allow_identified: bool = False
) -> Decoded:
    """Decode one frame. Raises UserError as `images.decode.decode` says.

    window: see `images.grayscale.display_levels`. A preset's name is refused for anything but CT in Hounsfield units.
    """
    with reading(path, "DICOM"):
        header, index, count = _read_header(path, frame, allow_identified)
        attributes = _frame_attributes(header, index)
        stored, pixels = _stored_pixels(path, index)
        info = {"format": "DICOM", "mode": str(header.PhotometricInterpretation)}
        if count > 1:
            info["frame"] = f"{index} of {count}"
        spacing = _spacing(attributes)
        if spacing:
            info["spacing"] = spacing
        if header.SamplesPerPixel == 3 or header.PhotometricInterpretation == "PALETTE COLOR":
            if window is not None:
                raise UserError(f"{path} is a colour image; window {window!r} applies to grey ones, leave it out")
            return Decoded(_colour(pixels, stored), info)
        values = modality_values(pixels, attributes)
        levels, info["window"] = display_levels(path, values, attributes, window, _padding(pixels, header))
        if header.PhotometricInterpretation == "MONOCHROME1":
            levels = 255 - levels
        return Decoded(gray_to_rgb(levels), info)


def _read_header(path: Path, frame: int | None, allow_identified: bool) -> tuple[Dataset, int, int]:
    """(data set without pixels, frame from 0, number of frames), all checks passed."""
    pydicom = _pydicom()
    syntax = pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID")
    if syntax is None:
        raise UserError(f"{path}: DICOM without a transfer syntax; rewrite it with another tool")
    if syntax in _DEFLATED:  # its size is unknown before it is inflated
        raise UserError(f"{path}: deflated DICOM is not read; rewrite it uncompressed (dcmconv +te)")
    header = pydicom.dcmread(path, stop_before_pixels=True)
    _check_identity(path, header, allow_identified)
    rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    count = int(header.get("NumberOfFrames") or 1)
    known = header.get("SamplesPerPixel") in (1, 3) and header.get("PhotometricInterpretation")
    if not rows or not columns or not known:
        raise UserError(f"{path}: this DICOM holds no picture (no rows, columns or samples in its header)")
    check_size(path, rows, columns)
    check_volume(path, (rows, columns, count))
    index = choose_frame(path, count, frame)
    _check_decoder(path, syntax)
    return header, index, count


def _pydicom() -> Any:
    try:
        import pydicom
        import pydicom.pixels
    except ImportError as error:
        raise UserError("reading DICOM needs pydicom: pip install medproof[dicom]") from error
    return pydicom


def _check_identity(path: Path, header: Dataset, allow_identified: bool) -> None:
    """PS3.3 C.7.1.1 and C.7.6.1: identity removed from the header, and not burned into the pixels."""
    if allow_identified:
        return
    if str(header.get("PatientIdentityRemoved") or "").strip().upper() != "YES":
        raise UserError(
            f"{path} may show who the patient is (PatientIdentityRemoved is not YES): de-identify it, "
            "or say --allow-identified if you may use it as it is"
        )
    if str(header.get("BurnedInAnnotation") or "").strip().upper() == "YES":
        raise UserError(
            f"{path} may show who the patient is (BurnedInAnnotation is YES): clean its pixels, "
            "or say --allow-identified if you may use it as it is"
        )


def _check_decoder(path: Path, syntax: Any) -> None:
    from pydicom.pixels import get_decoder

    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError as error:
        raise UserError(f"{path}: transfer syntax {syntax.name} is not known; rewrite it uncompressed") from error
    if not available:
        raise UserError(
            f"{path}: no decoder for {syntax.name} is installed: pip install 'pylibjpeg[all]' or rewrite it raw"
        )


def _stored_pixels(path: Path, index: int) -> tuple[Dataset, npt.NDArray[Any]]:
    """The frame as stored, (H, W) or (H, W, 3), YBR turned to RGB; and the group 0028 that describes it."""
    from pydicom import Dataset
    from pydicom.pixels import pixel_array

    stored = Dataset()
    pixels: npt.NDArray[Any] = pixel_array(path, ds_out=stored, index=index)
    return stored, pixels


def _frame_attributes(header: Dataset, index: int) -> Dataset:
    """The header with the functional groups of this frame laid over it (enhanced multi-frame, PS3.3 C.7.6.16)."""
    from pydicom import Dataset

    flat = Dataset()
    flat.update(header)
    flat.file_meta = header.file_meta
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    groups = [*(header.get("SharedFunctionalGroupsSequence") or [])[:1], *per_frame[index : index + 1]]
    for group in groups:
        for macro in _FRAME_MACROS:
            for item in (group.get(macro) or [])[:1]:
                flat.update(item)
    return flat


def _spacing(attributes: Dataset) -> str | None:
    """'rows x columns mm', with its kind where it is not the patient's."""
    for keyword in _SPACINGS:
        values = attributes.get(keyword)
        if values is not None and len(values) == 2:
            kind = "" if keyword == "PixelSpacing" else " at the detector"
            return f"{float(values[0]):g} x {float(values[1]):g} mm{kind}"
    return None


def _padding(pixels: npt.NDArray[Any], header: Dataset) -> npt.NDArray[np.bool_] | None:
    """Where the frame holds padding, not measurements (PS3.3 C.7.5.1.1.2)."""
    value = header.get("PixelPaddingValue")
    if value is None:
        return None
    limit = header.get("PixelPaddingRangeLimit", value)
    padding: npt.NDArray[np.bool_] = (pixels >= min(value, limit)) & (pixels <= max(value, limit))
    return padding


def _colour(pixels: npt.NDArray[Any], stored: Dataset) -> npt.NDArray[np.uint8]:
    """RGB or palette colour of any depth to 8 bit."""
    from pydicom.pixels import apply_color_lut

    bits = int(stored.BitsStored)
    if stored.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, stored)
        bits = 8 * pixels.dtype.itemsize
    if bits <= 8 and pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    return to_levels(pixels.astype(np.float64) / (2**bits - 1))
