"""Any supported image file to 8-bit RGB, told apart by its first bytes, never by its name alone."""

import gzip
import zlib
from pathlib import Path
from typing import Literal

from medproof.errors import UserError
from medproof.images.decoded import MAX_PIXELS, MAX_VOXELS, Decoded

__all__ = ["MAX_PIXELS", "MAX_VOXELS", "Decoded", "check_header", "decode"]

Kind = Literal["raster", "dicom", "nifti"]

_RASTER_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_GZIP_MAGIC = b"\x1f\x8b"
_HEAD = 352


def decode(
    path: Path, *, frame: int | None = None, window: str | None = None, allow_identified: bool = False
) -> Decoded:
    """Decode one picture.

    frame: frame of a multi-frame DICOM or TIFF, axial slice of a NIfTI volume, from 0; needed when there are several.
    window: 'lung' or another CT preset, 'centre/width', 'percentile' (DICOM and NIfTI); by default the file's own.
    allow_identified: show a DICOM that does not say it was de-identified.
    Raises UserError for every file that cannot be shown: missing, damaged, too large, identified, unknown.
    """
    kind = _kind(path)
    if kind == "dicom":
        from medproof.images.dicom import decode_dicom

        return decode_dicom(path, frame, window, allow_identified)
    if kind == "nifti":
        from medproof.images.nifti import decode_nifti

        return decode_nifti(path, frame, window)
    from medproof.images.raster import decode_raster

    if window is not None:
        raise UserError(f"{path}: window {window!r} applies to DICOM and NIfTI only; leave it out")
    return decode_raster(path, frame)


def check_header(path: Path, *, frame: int | None = None, allow_identified: bool = False) -> None:
    """The checks of `decode` that need the header alone: presence, format, size, frame, de-identification."""
    kind = _kind(path)
    if kind == "dicom":
        from medproof.images.dicom import check_dicom

        check_dicom(path, frame, allow_identified)
    elif kind == "nifti":
        from medproof.images.nifti import check_nifti

        check_nifti(path, frame)
    else:
        from medproof.images.raster import check_raster

        check_raster(path, frame)


def _kind(path: Path) -> Kind:
    head = _head(path)
    if not head:
        raise UserError(f"{path} is empty; fetch it again")
    zipped = head.startswith(_GZIP_MAGIC)
    if zipped:
        head = _unzipped_head(path)
    if head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0":
        return "nifti"
    if zipped:
        raise UserError(f"{path} is gzipped and no NIfTI volume; unpack it first")
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith(_RASTER_MAGIC):
        return "raster"
    raise UserError(f"{path} is no PNG, JPEG, BMP, TIFF, DICOM or single-file NIfTI image")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def _unzipped_head(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            return file.read(_HEAD)
    except (zlib.error, EOFError, OSError) as error:
        raise UserError(f"{path}: gzip file is damaged or cut off, fetch it again ({error})") from error
