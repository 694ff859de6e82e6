"""Drawing on 8-bit images: boxes, circles, arrows, contours, text, amplified differences, blanks. NumPy and PIL only.

Everything drawn is a light line or letter on a dark rim, so that it is seen on any ground, and lies inside the image.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Colour = tuple[int, int, int]
Corner = Literal["upper left", "upper right", "lower left", "lower right"]

CORNERS: tuple[Corner, ...] = ("upper left", "upper right", "lower left", "lower right")
BLANK_LEVEL = 128
"""Mid-grey of the blank image."""
SMALLEST_TEXT = 10
"""Font size in pixels below which letters are no longer told apart."""
_TEXT_SHARE = 1 / 14
"""Usual font size, as a share of the shorter side."""
_YELLOW = (255, 221, 0)
_BLACK = (0, 0, 0)


def blank_like(height: int, width: int) -> Pixels:
    """A mid-grey image (height, width, 3)."""
    return np.full((height, width, 3), BLANK_LEVEL, dtype=np.uint8)


def line_width(pixels: Pixels) -> int:
    """About 1/150 of the shorter side, and at least 1 pixel."""
    return max(1, round(int(min(pixels.shape[:2])) / 150))


def draw_box(pixels: Pixels, xyxy: tuple[float, float, float, float], colour: Colour = _YELLOW) -> Pixels:
    """A copy of (H, W, 3) with the outline of a box: a coloured line between two dark ones, all inside the image.

    xyxy: pixel edges, x1 and y1 exclusive. The line is as wide as `line_width` says.
    Raises ValueError when the box lies outside the image.
    """
    _check(pixels)
    height, width = pixels.shape[:2]
    line = line_width(pixels)
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


def draw_circle(pixels: Pixels, xyxy: tuple[int, int, int, int], colour: Colour = _YELLOW) -> Pixels:
    """A copy with an ellipse around a box, through its corners; where that leaves the image it is pulled inside."""
    _check(pixels)
    height, width = pixels.shape[:2]
    line = line_width(pixels)
    x0, x1 = _around(xyxy[0], xyxy[2], line, width)
    y0, y1 = _around(xyxy[1], xyxy[3], line, height)
    disc = Image.new("L", (width, height))
    ImageDraw.Draw(disc).ellipse((x0, y0, x1, y1), outline=255, width=line)
    return _painted(pixels, np.asarray(disc) > 0, colour)


def draw_contour(pixels: Pixels, region: Mask, colour: Colour = _YELLOW) -> Pixels:
    """A copy with a line around a region (H, W), one pixel off it; where the region meets the border, none."""
    _check(pixels)
    line = line_width(pixels)
    return _painted(pixels, _grown(region, 1 + line) & ~_grown(region, 1), colour)


def draw_arrow(pixels: Pixels, xyxy: tuple[int, int, int, int], turn: int = 0, colour: Colour = _YELLOW) -> Pixels:
    """A copy with an arrow that ends at the border of a box and points at its middle.

    turn: which of eight directions is tried first; the first whose whole arrow lies inside the image is taken. Where
    there is none, because the box fills the image, the arrow ends in the middle of the box.
    """
    _check(pixels)
    height, width = pixels.shape[:2]
    line = line_width(pixels)
    length = max(8.0 * line, 0.18 * min(height, width))
    tip, tail = _arrow(xyxy, length, turn, 3.0 * line + 2, (height, width))
    head = max(3.0 * line, 0.05 * min(height, width))
    return _painted(pixels, _arrow_mask(tip, tail, head, line, (height, width)), colour)


def draw_text(pixels: Pixels, text: str, corner: Corner) -> tuple[Pixels, tuple[int, int, int, int]]:
    """A copy with white text on black in a corner, and the box (x0, y0, x1, y1) it covers.

    Wrapped between words, and made smaller down to SMALLEST_TEXT, until it fits into the image less a margin.
    Raises ValueError where even that is too large.
    """
    _check(pixels)
    height, width = pixels.shape[:2]
    margin = max(2, min(height, width) // 50)
    largest = max(SMALLEST_TEXT, round(min(height, width) * _TEXT_SHARE))
    for size in range(largest, SMALLEST_TEXT - 1, -1):
        for wrapped in _wrapped(text):
            plate = _plate(wrapped, size)
            h, w = plate.shape
            if h <= height - 2 * margin and w <= width - 2 * margin:
                y0 = margin if corner.startswith("upper") else height - margin - h
                x0 = margin if corner.endswith("left") else width - margin - w
                out = pixels.copy()
                out[y0 : y0 + h, x0 : x0 + w] = plate[:, :, None]
                return out, (x0, y0, x0 + w, y0 + h)
    raise ValueError(f"an image of {width}x{height} pixels has no room for the text {text!r}")


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


def _frame(out: Pixels, x0: int, y0: int, x1: int, y1: int, line: int, colour: Colour) -> None:
    """Outline of the given width just inside [x0, x1) x [y0, y1), in place, pulled inside the image."""
    height, width = out.shape[:2]
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    out[y0 : y0 + line, x0:x1] = colour
    out[max(y1 - line, y0) : y1, x0:x1] = colour
    out[y0:y1, x0 : x0 + line] = colour
    out[y0:y1, max(x1 - line, x0) : x1] = colour


def _painted(pixels: Pixels, stroke: Mask, colour: Colour) -> Pixels:
    """A copy with the stroke in colour on a dark rim of one pixel."""
    out = pixels.copy()
    out[_grown(stroke, 1)] = _BLACK
    out[stroke] = colour
    return out


def _grown(mask: Mask, by: int) -> Mask:
    """Every pixel at most `by` rows and columns from the mask."""
    grown: Mask = np.asarray(Image.fromarray(mask.astype(np.uint8)).filter(ImageFilter.MaxFilter(2 * by + 1))) > 0
    return grown


def _around(low: int, high: int, line: int, size: int) -> tuple[int, int]:
    """First and last pixel of an axis of the ellipse through the corners of a box, inside an image with its rim."""
    reach = round((high - low) / 2 * (np.sqrt(2) - 1)) + line
    first, last = max(low - reach, 1), min(high - 1 + reach, size - 2)
    return min(first, last), last


def _arrow(
    xyxy: tuple[int, int, int, int], length: float, turn: int, room: float, shape: tuple[int, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Tip and tail as (x, y)."""
    x0, y0, x1, y1 = xyxy
    middle, half = np.array([x0 + x1 - 1, y0 + y1 - 1]) / 2, np.array([x1 - x0, y1 - y0]) / 2
    low, high = np.full(2, room), np.array([shape[1], shape[0]]) - 1 - room
    ways = [np.array([np.cos(a), np.sin(a)]) for a in np.pi / 4 * (np.arange(8) + turn)]
    for way in ways:
        # To where the way out of the box crosses its border, and a little further.
        tip = middle + way * (np.min(half / np.maximum(np.abs(way), 1e-9)) + room / 2)
        tail = tip + way * length
        if ((low <= tip) & (tip <= high) & (low <= tail) & (tail <= high)).all():
            return tip, tail
    inside = np.clip(middle, low, np.maximum(low, high))
    ends = [np.clip(inside + way * length, low, np.maximum(low, high)) for way in ways]
    return inside, max(ends, key=lambda end: float(np.linalg.norm(end - inside)))


def _arrow_mask(
    tip: npt.NDArray[np.float64], tail: npt.NDArray[np.float64], head: float, line: int, shape: tuple[int, int]
) -> Mask:
    """Shaft of `line` + 1 pixels and a solid head."""
    way = (tip - tail) / max(float(np.linalg.norm(tip - tail)), 1e-9)
    side = np.array([-way[1], way[0]])
    base = tip - way * head
    canvas = Image.new("L", (shape[1], shape[0]))
    draw = ImageDraw.Draw(canvas)
    draw.line([tuple(tail), tuple(base)], fill=255, width=line + 1)
    draw.polygon([tuple(tip), tuple(base + side * head * 0.6), tuple(base - side * head * 0.6)], fill=255)
    mask: Mask = np.asarray(canvas) > 0
    return mask


def _wrapped(text: str) -> Iterator[str]:
    """The text on one line, on two, and so on up to a line for each word, as even as they come."""
    words = text.split()
    for count in range(1, len(words) + 1):
        cuts = [round(i * len(words) / count) for i in range(count + 1)]
        yield "\n".join(" ".join(words[a:b]) for a, b in pairwise(cuts))


def _plate(text: str, size: int) -> npt.NDArray[np.uint8]:
    """Grey levels (h, w): white letters on black, with a small border."""
    font = ImageFont.load_default(size)
    draw = ImageDraw.Draw(Image.new("L", (1, 1)))
    x0, y0, x1, y1 = draw.multiline_textbbox((0, 0), text, font=font)
    pad = max(2, size // 5)
    plate = Image.new("L", (int(np.ceil(x1 - x0)) + 2 * pad, int(np.ceil(y1 - y0)) + 2 * pad))
    ImageDraw.Draw(plate).multiline_text((pad - x0, pad - y0), text, font=font, fill=255)
    return np.asarray(plate)


def _check(pixels: Pixels) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(f"an image is uint8 (H, W, 3), not {pixels.dtype} {pixels.shape}")
