"""From stored values to 8-bit grey: linear windows, their names, and ranges taken from the data."""

import difflib
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medproof.errors import UserError

PRESETS: dict[str, tuple[float, float]] = {
    "abdomen": (60, 400),
    "bone": (400, 1800),
    "brain": (40, 80),
    "liver": (60, 160),
    "lung": (-600, 1500),
    "mediastinum": (50, 350),
    "soft-tissue": (50, 400),
    "stroke": (32, 8),
    "subdural": (75, 215),
}
"""Usual CT windows: centre and width in Hounsfield units."""

PERCENTILES = (0.5, 99.5)
_NUMERIC = re.compile(r"^(-?\d+(?:\.\d+)?)/(\d+(?:\.\d+)?)$")


@dataclass(frozen=True)
class Window:
    """Values from `low` (black) to `high` (white). `hounsfield`: only meant for CT numbers."""

    name: str
    low: float
    high: float
    hounsfield: bool = False


def named_window(name: str) -> Window | None:
    """Read 'lung' and the other presets, 'centre/width' as in '40/400', or 'percentile' (None: depends on the data).

    Raises UserError, with a suggestion, on any other name.
    """
    text = re.sub(r"[\s_]+", "-", name.strip().lower())
    if text == "percentile":
        return None
    numeric = _NUMERIC.match(text)
    if numeric is not None and float(numeric.group(2)) > 0:
        return _centred(text, float(numeric.group(1)), float(numeric.group(2)), hounsfield=False)
    if text in PRESETS:
        centre, width = PRESETS[text]
        return _centred(f"{text} ({centre:g}/{width:g} HU)", centre, width, hounsfield=True)
    known = [*PRESETS, "percentile"]
    close = difflib.get_close_matches(text, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise UserError(f"unknown window {name!r}: {hint}known are {', '.join(known)} and 'centre/width' as in '40/400'")


def percentile_window(values: npt.NDArray[Any]) -> Window:
    """From the 0.5th to the 99.5th percentile of the finite values."""
    finite = values[np.isfinite(values)]
    low, high = (float(v) for v in np.percentile(finite, PERCENTILES)) if finite.size else (0.0, 0.0)
    return Window(f"percentile {PERCENTILES[0]:g}..{PERCENTILES[1]:g} ({low:g}..{high:g})", low, high)


def range_window(values: npt.NDArray[Any]) -> Window:
    """From the smallest to the largest of the finite values."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return Window(f"range {low:g}..{high:g}", low, high)


def apply_window(values: npt.NDArray[Any], window: Window) -> npt.NDArray[np.uint8]:
    """Linear from low to high, clamped; NaN and an empty range are black below, white above."""
    if window.high > window.low:
        return to_levels((values.astype(np.float64) - window.low) / (window.high - window.low))
    return np.where(values > window.high, 255, 0).astype(np.uint8)


def to_levels(fractions: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """[0, 1] -> 0..255, clamped, rounded half up; NaN is black."""
    clamped = np.clip(np.nan_to_num(fractions, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
    return np.floor(clamped * 255 + 0.5).astype(np.uint8)


def _centred(name: str, centre: float, width: float, hounsfield: bool) -> Window:
    return Window(name, centre - width / 2, centre + width / 2, hounsfield)
