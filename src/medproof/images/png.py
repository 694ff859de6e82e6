"""8-bit RGB pixels to PNG and back, without loss."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from medproof.errors import UserError

_COMPRESS_LEVEL = 1


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """uint8 (H, W, 3) -> PNG without metadata. The same pixels give the same bytes (with the same zlib)."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"encode_png takes uint8 (H, W, 3), not {pixels.dtype} {pixels.shape}")
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(buffer, format="PNG", compress_level=_COMPRESS_LEVEL, optimize=False)
    return buffer.getvalue()


def decode_png(data: bytes) -> npt.NDArray[np.uint8]:
    """PNG as written by `encode_png` -> uint8 (H, W, 3). Raises UserError on anything but a whole 8-bit RGB PNG."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.mode != "RGB":
                raise UserError(
                    f"stored PNG is of mode {image.mode}, not 8-bit RGB; it was not written by this program"
                )
            return np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"stored PNG cannot be read ({error}); delete it and run the same command again") from error
