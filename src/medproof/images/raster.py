"""PNG, JPEG, BMP and TIFF to 8-bit RGB. Colour profiles are ignored, as the stock processors do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from medproof.errors import UserError
from medproof.images.decoded import MAX_PIXELS, Decoded, check_size, choose_frame, gray_to_rgb, reading

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")


def check_raster(path: Path, frame: int | None = None) -> None:
    """Header only: size and frame. Raises UserError."""
    with _opened(path) as image:
        _choose(path, image, frame)


def decode_raster(path: Path, frame: int | None = None) -> Decoded:
    """Decode one picture; the frame of a multi-page TIFF must be named. EXIF orientation is applied.

    16-bit grey is scaled over its full range (65535 -> 255); transparency is laid over black.
    Raises UserError on a damaged file, one over the size bound, and float or 32-bit values (whose range is unknown).
    """
    with _opened(path) as image:
        index, count = _choose(path, image, frame)
        info = {"format": str(image.format)}
        with reading(path, str(image.format)):
            if count > 1:
                image.seek(index)
                check_size(path, image.height, image.width)  # pages may differ in size
                info["frame"] = f"{index} of {count}"
            image.load()
            info["mode"] = image.mode
            upright = ImageOps.exif_transpose(image)
            return Decoded(_to_rgb(path, upright), info)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image with its header read and its size checked, nothing decoded."""
    # Not opened by name: PIL would map raw TIFF files into memory, and (13.0) reads turned ones wrongly that way.
    with path.open("rb") as file:
        try:
            with reading(path, "image"):
                image = Image.open(file, formats=FORMATS)
        except UserError as error:
            if isinstance(error.__cause__, Image.DecompressionBombError):
                raise UserError(f"{path}: more pixels than the bound of {MAX_PIXELS}; scale it down first") from error
            raise
        with image:
            check_size(path, image.height, image.width)
            yield image


def _choose(path: Path, image: Image.Image, frame: int | None) -> tuple[int, int]:
    """(frame, count). Only TIFF pages count: animations in PNG and previews in JPEG are no medical frames."""
    with reading(path, str(image.format)):
        count = int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1
    return choose_frame(path, count, frame), count


def _to_rgb(path: Path, image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode.startswith("I"):
        return gray_to_rgb(_from_16_bit(path, np.asarray(image)))
    if image.mode == "F":
        raise UserError(f"{path}: floating-point pixels have no known range; save it as 8 or 16 bit")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        black = Image.new("RGBA", layered.size, (0, 0, 0, 255))
        return np.array(Image.alpha_composite(black, layered).convert("RGB"))
    return np.array(image.convert("RGB"))


def _from_16_bit(path: Path, values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Round v * 255 / 65535 half up."""
    wide = values.astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise UserError(f"{path}: grey values beyond 0..65535 have no known range; save it as 8 or 16 bit")
    return ((wide + 128) // 257).astype(np.uint8)
