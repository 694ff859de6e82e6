"""Drawing on 8-bit images: box outlines, amplified differences, blanks. NumPy only."""

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

BLANK_LEVEL = 128
"""Mid-grey of the blank image."""
_YELLOW = (255, 221, 0)
_BLACK = (0, 0, 0)


def blank_like(height: int, width: int) -> Pixels:
    """A mid-grey image (height, width, 3)."""
    return np.full((height, width, 3), BLANK_LEVEL, dtype=np.uint8)


def draw_box(pixels: Pixels, xyxy: tuple[float, float, float, float], colour: tuple[int, int, int] = _YELLOW) -> Pixels:
    """A copy of (H, W, 3) with the outline of a box: a coloured line between two dark ones, all inside the image.

    xyxy: pixel edges, x1 and y1 exclusive. The line is about 1/150 of the shorter side and at least 1 pixel wide.
    Raises ValueError when the box lies outside the image.
    """
    _check(pixels)
    height, width = pixels.shape[:2]
    line = max(1, round(min(height, width) / 150))
    x0, y0 = max(0, int(np.floor(xyxy[0]))), max(0, int(np.floor(xyxy[1])))
    x1, y1 = min(width, int(np.ceil(xyxy[2]))), min(height, int(np.ceil(xyxy[3])))
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f"box {xyxy} lies outside the image of {width}x{height} pixels")
    out = pixels.copy()
    # Drawn around the box, but pulled inside the image; dark rims keep it visible on bright tissue.
    left, top, right, bottom = max(x0 - line, 0), max(y0 - line, 0), min(x1 + line, width), min(y1 + line, height)
    _frame(out, left - 1, top - 1, right + 1, bottom + 1, 1, _BLACK)
    _frame(out, left, top, right, bottom, line, colour)
    if min(x1 - x0, y1 - y0) > 8 * line:
        _frame(out, left + line, top + line, right - line, bottom - line, 1, _BLACK)
    return out


def amplified_difference(a: Pixels, b: Pixels) -> tuple[Pixels, float]:
    """(b - a) around mid-grey, amplified so that the largest difference fills the range; and the factor.

    Equal images give a blank and the factor 1. Raises ValueError when the shapes differ.
    """
    _check(a)
    if a.shape != b.shape or b.dtype != np.uint8:
        raise ValueError(f"images of shape {a.shape} and {b.shape} cannot be compared")
    difference = b.astype(np.int16) - a.astype(np.int16)
    largest = int(np.abs(difference).max())
    if largest == 0:
        return blank_like(a.shape[0], a.shape[1]), 1.0
    factor = 127 / largest
    shown = np.floor(BLANK_LEVEL + difference * factor + 0.5)
    return shown.astype(np.uint8), factor


def _frame(out: Pixels, x0: int, y0: int, x1: int, y1: int, line: int, colour: tuple[int, int, int]) -> None:
    """Outline of the given width just inside [x0, x1) x [y0, y1), in place, pulled inside the image."""
    height, width = out.shape[:2]
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    out[y0 : y0 + line, x0:x1] = colour
    out[max(y1 - line, y0) : y1, x0:x1] = colour
    out[y0:y1, x0 : x0 + line] = colour
    out[y0:y1, max(x1 - line, x0) : x1] = colour


def _check(pixels: Pixels) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(f"an image is uint8 (H, W, 3), not {pixels.dtype} {pixels.shape}")
