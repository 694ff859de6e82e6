"""Regions of an image: where the evidence of an item is, and where as large a region finds room elsewhere. No torch."""

import re

import numpy as np
import numpy.typing as npt

from medproof.conditions.context import Context, Pixels
from medproof.conditions.evidence import Mask, evidence_mask
from medproof.records import Item

Shift = tuple[int, int]
"""Down and to the right, in pixels."""
_BACKGROUND = 16
"""Grey levels up to this are air, not tissue."""
_PLACE = re.compile(r"(?:(upper|top|lower|bottom) ?)?(left|right)?(?: (?:part|half|side|quadrant|quarter))?(?: of .*)?")


def largest_part(mask: Mask) -> Mask:
    """The largest connected part of a mask that is not empty, diagonal neighbours connected; of equals the first."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    part: Mask = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return part


def tight_box(mask: Mask) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 around a mask that is not empty; x1 and y1 exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def filled_box(box: tuple[int, int, int, int], shape: tuple[int, ...]) -> Mask:
    """(H, W), true inside the box."""
    mask = np.zeros(shape[:2], dtype=np.bool_)
    x0, y0, x1, y1 = box
    mask[y0:y1, x0:x1] = True
    return mask


def shifted(mask: Mask, by: Shift) -> Mask:
    """The mask moved; what leaves the image on one side enters on the other."""
    moved: Mask = np.roll(mask, by, axis=(0, 1))
    return moved


def tissue(image: Pixels) -> Mask:
    """(H, W), true where the image is not background."""
    mask: Mask = image.max(axis=2) > _BACKGROUND
    return mask


def free_shifts(part: Mask, avoid: Mask, *, wrap: bool = False) -> Mask:
    """(H, W): whether `part`, shifted by (row, column), touches nothing of `avoid` (for negative shifts, modulo).

    Without `wrap` also: and stays inside the image.
    """
    free: Mask = _overlaps(part, avoid) == 0
    if not wrap:
        height, width = part.shape
        x0, y0, x1, y1 = tight_box(part)
        rows = np.isin(np.arange(height), np.arange(-y0, height - y1 + 1) % height)
        columns = np.isin(np.arange(width), np.arange(-x0, width - x1 + 1) % width)
        free = free & rows[:, None] & columns[None, :]
    return free


def drawn_shift(part: Mask, free: Mask, image: Pixels, rng: np.random.Generator) -> Shift | None:
    """One of the free shifts at random, of those at least half on tissue where there are any; None without any."""
    on_tissue = free & (_overlaps(part, tissue(image)) * 2 >= part.sum())
    candidates = np.argwhere(on_tissue if on_tissue.any() else free)
    if not len(candidates):
        return None
    down, right = candidates[rng.integers(len(candidates))]
    return int(down), int(right)


def moved_elsewhere(part: Mask, avoid: Mask, image: Pixels, rng: np.random.Generator, *, wrap: bool) -> Mask | None:
    """`part` at a random place that touches nothing of `avoid`; None where there is no room.

    wrap: where it finds no room in one piece, it may be cut by the border.
    """
    shift = drawn_shift(part, free_shifts(part, avoid), image, rng)
    if shift is None and wrap:
        shift = drawn_shift(part, free_shifts(part, avoid, wrap=True), image, rng)
    return None if shift is None else shifted(part, shift)


def place_of(option: str) -> tuple[str, str] | None:
    """("upper" | "lower" | "", "left" | "right" | "") where an option says no more than a place in the image."""
    match = _PLACE.fullmatch(" ".join(option.casefold().split()).removeprefix("the "))
    if match is None or not (match[1] or match[2]):
        return None
    return {"top": "upper", "bottom": "lower", None: ""}.get(match[1], match[1]), match[2] or ""


def within_place(part: Mask, place: tuple[str, str]) -> Mask:
    """(H, W): whether the centre of `part`, shifted by (row, column), lies clearly in that part of the image."""
    height, width = part.shape
    x0, y0, x1, y1 = tight_box(part)
    down = _side((y0 + y1) / 2, height, place[0], ("upper", "lower"))
    right = _side((x0 + x1) / 2, width, place[1], ("left", "right"))
    inside: Mask = down[:, None] & right[None, :]
    return inside


def asked_about(item: Item, context: Context) -> Mask | None:
    """(H, W): the evidence; of boxes with several labels, those that the question or the finding names, if any."""
    evidence = item.evidence
    if evidence is not None and evidence.mask is None:
        said = f"{item.question} {item.facts.get('finding', '')}".casefold()
        named = tuple(box for box in evidence.boxes if box.label.casefold() in said)
        if named:
            item = item.model_copy(update={"evidence": evidence.model_copy(update={"boxes": named})})
    return evidence_mask(item, context)


def _side(centre: float, size: int, name: str, names: tuple[str, str]) -> npt.NDArray[np.bool_]:
    """(size,) whether `centre`, shifted, is at least 6 % of the size off the middle, on the named side."""
    at = (centre + np.arange(size)) % size / size
    if name == names[0]:
        return np.asarray(at < 0.44)
    return np.asarray(at > 0.56) if name == names[1] else np.ones(size, dtype=np.bool_)


def _overlaps(part: Mask, other: Mask) -> npt.NDArray[np.int64]:
    """(H, W): how many pixels of `part`, shifted by (row, column) modulo the size, fall on `other`."""
    correlation = np.fft.irfft2(np.conj(np.fft.rfft2(part)) * np.fft.rfft2(other), s=part.shape)
    return np.rint(correlation).astype(np.int64)
