"""What a decoder gives, and the bounds every decoder keeps."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medproof.errors import UserError

MAX_PIXELS = 2**26
"""Pixels of one decoded picture (64 megapixels)."""
MAX_VOXELS = 2**29
"""Pixels of all frames or slices of one file (a volume of 812 x 812 x 812)."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """One picture: 8-bit RGB (H, W, 3), and how it came to be, in words.

    `info` holds `format` and, where they apply, `window` (what was mapped to black..white), `spacing` (millimetres,
    rows x columns), `frame` ("3 of 40", counted from 0), `orientation` and `mode` (as stored). Never who it shows.
    """

    pixels: npt.NDArray[np.uint8]
    info: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 3 or self.pixels.shape[2] != 3:
            raise ValueError(f"decoded pixels are uint8 (H, W, 3), not {self.pixels.dtype} {self.pixels.shape}")


def check_size(path: Path, height: int, width: int) -> None:
    """Refuse a picture without pixels or with more than MAX_PIXELS (a decompression bomb, or not for a model)."""
    if height < 1 or width < 1:
        raise UserError(f"{path}: the header gives {width} x {height} pixels; there is no picture in it")
    if height * width > MAX_PIXELS:
        raise UserError(f"{path}: {width} x {height} pixels exceed the bound of {MAX_PIXELS}; scale it down first")


def check_volume(path: Path, shape: Sequence[int]) -> None:
    """Refuse a file whose frames together have more than MAX_VOXELS pixels."""
    if math.prod(shape) > MAX_VOXELS:
        sizes = " x ".join(str(n) for n in shape)
        raise UserError(f"{path}: a volume of {sizes} is larger than the bound of {MAX_VOXELS} voxels; crop it first")


def choose_frame(path: Path, count: int, frame: int | None, noun: str = "frame") -> int:
    """The frame to show, counted from 0. Raises UserError when there are several and none is named, or none such."""
    if count < 1:
        raise UserError(f"{path}: the header gives {count} {noun}s; there is no picture in it")
    if frame is None:
        if count > 1:
            raise UserError(f"{path} holds {count} {noun}s: say which one, frame=0 to {count - 1}")
        return 0
    if not 0 <= frame < count:
        raise UserError(f"{path} has no {noun} {frame}: it holds {noun}s 0 to {count - 1}")
    return frame


def gray_to_rgb(levels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(H, W) -> (H, W, 3)."""
    return np.ascontiguousarray(np.repeat(levels[:, :, None], 3, axis=2))


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a parser raises on a broken file into one UserError that names the file."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # parsers raise nearly anything on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: {kind} file is damaged or cut off, fetch it again ({reason[:200]})") from error
