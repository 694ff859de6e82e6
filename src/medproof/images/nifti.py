"""Axial slices of NIfTI volumes to 8-bit RGB, in radiological convention. Needs the extra `[dicom]` (nibabel)."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from medproof.errors import UserError
from medproof.images.decoded import Decoded, check_size, check_volume, choose_frame, gray_to_rgb, reading
from medproof.images.windows import apply_window, named_window, percentile_window

_MAX_OFFSET = 2**26  # bytes of header extensions before the voxels
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class _Layout:
    """Which array axis runs to patient right, anterior and superior, and in which direction (+1 or -1)."""

    axes: tuple[int, int, int]
    signs: tuple[int, int, int]


def check_nifti(path: Path, frame: int | None = None) -> None:
    """Header only: size, dimensions, slice. Raises UserError."""
    _checked_header(path, frame)


def decode_nifti(path: Path, frame: int | None = None, window: str | None = None) -> Decoded:
    """One axial slice, counted from 0 at the feet: patient right on image left, anterior up.

    The array is turned to its closest canonical (RAS+) orientation first; pixels are not resampled, so they may be
    oblong (see `spacing`). window: a name of `images.windows` (presets take the values as Hounsfield units); by default
    the 0.5th to 99.5th percentile of the slice.
    """
    header, layout, index, count = _checked_header(path, frame)
    chosen = None if window is None else named_window(window)
    values = _axial_slice(path, header, layout, index)
    chosen = chosen or percentile_window(values)
    with reading(path, "NIfTI"):
        sizes = np.sqrt((header.get_best_affine()[:3, :3] ** 2).sum(axis=0))
    info = {
        "format": "NIfTI",
        "mode": str(header.get_data_dtype()),
        "window": chosen.name,
        "spacing": f"{sizes[layout.axes[1]]:g} x {sizes[layout.axes[0]]:g} mm",
        "orientation": "axial, patient right on image left" + _doubt(header),
    }
    if count > 1:
        info["frame"] = f"{index} of {count}"
    return Decoded(gray_to_rgb(apply_window(values, chosen)), info)


def _checked_header(path: Path, frame: int | None) -> tuple[Any, _Layout, int, int]:
    """(nibabel header, layout, slice from 0, number of slices)."""
    nibabel = _nibabel()
    with reading(path, "NIfTI"):
        with _open(path) as file:
            block = file.read(540)
        kind = "Nifti2" if block[4:8] == b"n+2\0" else "Nifti1"
        size = 540 if kind == "Nifti2" else 348
        header = getattr(nibabel, f"{kind}Header")(block[:size])
        shape = tuple(int(n) for n in header.get_data_shape())
        dtype = header.get_data_dtype()
        layout = _layout(path, nibabel, header)
        offset = int(header["vox_offset"])
    if len(shape) < 2 or (len(shape) > 3 and any(n != 1 for n in shape[3:])):
        raise UserError(f"{path} has {len(shape)} dimensions {shape}; save one 3-D volume of it and use that")
    if dtype.kind not in "iuf":
        raise UserError(f"{path}: voxels of type {dtype} are not grey values; save it as integers or floats")
    if not 0 <= offset <= _MAX_OFFSET:
        raise UserError(f"{path}: the header puts the voxels at byte {offset}; the file is damaged, fetch it again")
    volume = (*shape, 1)[:3]
    check_size(path, volume[layout.axes[1]], volume[layout.axes[0]])
    check_volume(path, volume)
    count = volume[layout.axes[2]]
    return header, layout, choose_frame(path, count, frame, noun="slice"), count


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise UserError("reading NIfTI needs nibabel: pip install medproof[dicom]") from error
    return nibabel


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    """The content, unzipped where the file is gzipped."""
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP_MAGIC
    with gzip.open(path, "rb") if zipped else path.open("rb") as content:
        yield content  # type: ignore[misc]


def _layout(path: Path, nibabel: Any, header: Any) -> _Layout:
    orientation = nibabel.io_orientation(header.get_best_affine())
    if not np.isfinite(orientation).all():
        raise UserError(f"{path}: its affine matrix gives some axis no direction; write a valid one")
    of_world = {int(world): axis for axis, (world, _) in enumerate(orientation)}
    axes = (of_world[0], of_world[1], of_world[2])
    signs = tuple(int(orientation[axis][1]) for axis in axes)
    return _Layout(axes, (signs[0], signs[1], signs[2]))


def _axial_slice(path: Path, header: Any, layout: _Layout, index: int) -> npt.NDArray[np.float64]:
    """(rows from anterior to posterior, columns from patient right to left), scaled by slope and intercept."""
    nibabel = _nibabel()
    right, anterior, superior = layout.axes
    with reading(path, "NIfTI"), _open(path) as file:
        shape = (*header.get_data_shape(), 1)[:3]
        slope, intercept = header.get_slope_inter()
        spec = (shape, header.get_data_dtype(), int(header["vox_offset"]), slope or 1.0, intercept or 0.0)
        proxy = nibabel.arrayproxy.ArrayProxy(file, spec, mmap=False)
        position = index if layout.signs[2] > 0 else shape[superior] - 1 - index
        cut: list[Any] = [slice(None)] * 3
        cut[superior] = position
        values = np.asarray(proxy[tuple(cut)], dtype=np.float64)
    if right < anterior:
        values = values.T  # now (anterior, right)
    # RAS+ runs to the right and to the front; the picture starts at the front and at the patient's right.
    return values[:: -layout.signs[1], :: -layout.signs[0]]


def _doubt(header: Any) -> str:
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        return " (assumed: the file states no orientation)"
    return ""
