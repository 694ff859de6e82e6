"""From a data URL to the picture the model sees. Nothing is fetched, nothing is kept."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from medproof.errors import UserError
from medproof.images.decode import check_header, decode
from medproof.images.grid import Grid
from medproof.images.raster import FORMATS
from medproof.server.errors import ApiError

_MEMORY = "/dev/shm"
_HEADER = 200  # characters of a data URL before its comma


@dataclass(frozen=True, eq=False)
class Upload:
    """`pixels`: uint8 (H, W, 3) on the model's grid. `sha256`: of the file as sent. `size`: height, width as sent."""

    pixels: npt.NDArray[np.uint8]
    sha256: str
    size: tuple[int, int]


def read_upload(
    url: str,
    grid: Grid | None,
    max_pixels: int,
    *,
    frame: int | None = None,
    window: str | None = None,
    allow_identified: bool = False,
) -> Upload:
    """Decode and render the picture of a data URL. Raises ApiError 400 or 413."""
    data = _payload(url)
    _check_kind(data)
    try:
        with _as_file(data) as path:
            try:
                height, width = _stated_size(path, data, frame, allow_identified)
                if height * width > max_pixels:
                    raise _too_large(height, width, max_pixels)
                pixels = decode(path, frame=frame, window=window, allow_identified=allow_identified).pixels
            except UserError as error:
                raise _refused(str(error).replace(str(path), "the picture")) from error
        height, width = pixels.shape[:2]
        if height * width > max_pixels:
            raise _too_large(height, width, max_pixels)
        shown = pixels if grid is None else grid.render(pixels)
    except UserError as error:
        raise _refused(str(error)) from error
    return Upload(shown, hashlib.sha256(data).hexdigest(), (height, width))


def _refused(reason: str) -> ApiError:
    return ApiError(400, "invalid_image", reason, param="image")


def _too_large(height: int, width: int, bound: int) -> ApiError:
    message = f"{width} x {height} pixels exceed the bound of {bound}; scale it down first"
    return ApiError(413, "image_too_large", message, param="image")


def _payload(url: str) -> bytes:
    header, comma, _ = url[:_HEADER].partition(",")
    if not url[:5].lower() == "data:":
        raise _refused("send the image as a data URL (data:image/png;base64,...); addresses are not fetched")
    if not comma or not header.lower().endswith(";base64"):
        raise _refused("the data URL is not data:<type>;base64,<data>")
    try:
        return base64.b64decode(url[len(header) + 1 :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused("the base64 of the image is damaged or cut off") from error


def _check_kind(data: bytes) -> None:
    if data[:2] == b"\x1f\x8b" or data[344:348] == b"n+1\0" or data[4:8] == b"n+2\0":
        raise _refused("archives and volumes are not read; send one PNG, JPEG, BMP, TIFF or DICOM picture")


def _stated_size(path: Path, data: bytes, frame: int | None, allow_identified: bool) -> tuple[int, int]:
    """(height, width) by the header, nothing decompressed; (0, 0) where the decoder will have to say what is wrong."""
    try:
        if data[128:132] != b"DICM":
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return image.height, image.width
        check_header(path, frame=frame, allow_identified=allow_identified)  # refuses deflated ones, too
        import pydicom

        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
        return int(header.Rows), int(header.Columns)
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise ApiError(413, "image_too_large", "far too many pixels; scale it down", param="image") from error
    except Exception:  # parsers raise nearly anything on damaged files
        return 0, 0


@contextmanager
def _as_file(data: bytes) -> Iterator[Path]:
    """A file for the decoders, which want one. Nobody else may read it; where the system can, it is in memory."""
    with tempfile.NamedTemporaryFile(dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None) as file:
        file.write(data)
        file.flush()
        yield Path(file.name)
