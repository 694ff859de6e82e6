"""The grey-scale pipeline of DICOM: stored values -> modality values -> 8-bit display levels (PS3.3 C.11.1, C.11.2)."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medproof.errors import UserError
from medproof.images.windows import Window, apply_window, named_window, percentile_window, range_window, to_levels

if TYPE_CHECKING:
    from pydicom import Dataset

Values = npt.NDArray[np.float64]
Levels = npt.NDArray[np.uint8]


def modality_values(stored: npt.NDArray[Any], attributes: Dataset) -> Values:
    """Modality LUT sequence, else rescale slope and intercept, else the stored values (C.11.1.1)."""
    luts = attributes.get("ModalityLUTSequence")
    if luts:
        return _look_up(stored.astype(np.float64), luts[0], attributes)[0]
    slope = float(attributes.get("RescaleSlope", 1) or 1)
    return stored.astype(np.float64) * slope + float(attributes.get("RescaleIntercept", 0) or 0)


def display_levels(
    path: Path,
    values: Values,
    attributes: Dataset,
    window: str | None,
    padding: npt.NDArray[np.bool_] | None = None,
) -> tuple[Levels, str]:
    """Modality values to 0..255, and in words what was done.

    window: a name of `images.windows`; the explanation of a window in the file (it may hold several); by default the
    file's first VOI LUT, else its first window, else 8-bit values as they are, else the range of the frame.
    """
    measured = values if padding is None or padding.all() else values[~padding]
    if window is not None:
        return _levels_named(path, values, measured, attributes, window)
    if attributes.get("VOILUTSequence"):
        entries, bits = _look_up(values, attributes.VOILUTSequence[0], attributes)
        return to_levels(entries / (2**bits - 1)), "VOI LUT of the file"
    if _file_windows(attributes):
        return _levels_of_file_window(values, attributes, 0)
    if attributes.get("BitsStored") == 8 and values.min() >= 0 and values.max() <= 255:
        return to_levels(values / 255), "8 bit as stored"
    chosen = range_window(measured)
    return apply_window(values, chosen), chosen.name


def _levels_named(path: Path, values: Values, measured: Values, attributes: Dataset, window: str) -> tuple[Levels, str]:
    explanations = [text.strip().lower() for text in _texts(attributes, "WindowCenterWidthExplanation")]
    if window.strip().lower() in explanations[: len(_file_windows(attributes))]:
        return _levels_of_file_window(values, attributes, explanations.index(window.strip().lower()))
    chosen: Window = named_window(window) or percentile_window(measured)
    if chosen.hounsfield:
        _check_hounsfield(path, attributes, window)
    return apply_window(values, chosen), chosen.name


def _check_hounsfield(path: Path, attributes: Dataset, window: str) -> None:
    modality = str(attributes.get("Modality") or "unknown")
    unit = str(attributes.get("RescaleType") or "HU").strip().upper()
    if modality != "CT" or unit not in ("HU", "HU_MOD") or "RescaleIntercept" not in attributes:
        raise UserError(
            f"{path}: window {window!r} is in Hounsfield units and this image (modality {modality}) is not; "
            "give 'centre/width', 'percentile' or no window"
        )


def _file_windows(attributes: Dataset) -> list[tuple[float, float]]:
    """(centre, width) of the windows in the file, up to the first without a usable width."""
    pairs = zip(_numbers(attributes, "WindowCenter"), _numbers(attributes, "WindowWidth"))
    return list(itertools.takewhile(lambda pair: pair[1] > 0, pairs))


def _levels_of_file_window(values: Values, attributes: Dataset, index: int) -> tuple[Levels, str]:
    """C.11.2.1.2 (LINEAR) and C.11.2.1.3 (SIGMOID, LINEAR_EXACT)."""
    centre, width = _file_windows(attributes)[index]
    function = str(attributes.get("VOILUTFunction") or "LINEAR").strip().upper()
    name = f"{centre:g}/{width:g} of the file" + ("" if function == "LINEAR" else f", {function.lower()}")
    if function == "SIGMOID":
        exponent = np.clip(-4 * (values - centre) / width, -700, 700)
        return to_levels(1 / (1 + np.exp(exponent))), name
    if function == "LINEAR_EXACT":
        return apply_window(values, Window(name, centre - width / 2, centre + width / 2)), name
    if function != "LINEAR":
        raise UserError(f"unknown VOI LUT function {function!r}; known are LINEAR, LINEAR_EXACT and SIGMOID")
    return apply_window(values, Window(name, centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)), name


def _look_up(values: Values, lut: Dataset, attributes: Dataset) -> tuple[Values, int]:
    """Table look-up (C.11.1.1.1, C.11.2.1.1): (entries, bits per entry). Values beyond the table take its ends."""
    length, first, bits = (int(n) for n in lut.LUTDescriptor)
    length = length or 2**16
    data = lut.LUTData
    if isinstance(data, bytes):
        order = "<" if attributes.file_meta.TransferSyntaxUID.is_little_endian else ">"
        # 8-bit tables may be stored one entry to a byte
        data = np.frombuffer(data, np.uint8 if len(data) < 2 * length else f"{order}u2")
    table = np.asarray(data, dtype=np.float64)[:length]
    if table.size < length:
        raise UserError(f"a look-up table has {table.size} entries where {length} are announced")
    indices = np.clip(np.floor(values + 0.5) - first, 0, length - 1).astype(np.int64)
    return table[indices], bits


def _numbers(attributes: Dataset, keyword: str) -> list[float]:
    return [float(value) for value in _values(attributes, keyword)]


def _texts(attributes: Dataset, keyword: str) -> list[str]:
    return [str(value) for value in _values(attributes, keyword)]


def _values(attributes: Dataset, keyword: str) -> list[Any]:
    """One or many values as a list; none where the element is absent or empty."""
    value = attributes.get(keyword)
    if value is None or value == "":
        return []
    return list(value) if not isinstance(value, str) and hasattr(value, "__iter__") else [value]
