"""Files made on the spot: DICOM, NIfTI, and pictures whose pixels are known."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest


@pytest.fixture
def gradient() -> np.ndarray:
    """(40, 56, 3) uint8, no two neighbours alike, not symmetric in any way."""
    rows, columns = np.mgrid[:40, :56]
    return np.stack([rows * 6, columns * 4, (rows * columns) % 251], axis=2).astype(np.uint8)


@pytest.fixture
def make_dicom(tmp_path: Path) -> Callable[..., Path]:
    """make_dicom(stored array, **elements) -> path. De-identified CT, MONOCHROME2, explicit little endian."""

    def make(stored: np.ndarray, name: str = "image.dcm", syntax: str | None = None, **elements: Any) -> Path:
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        meta.MediaStorageSOPInstanceUID = "1.2.3"
        meta.TransferSyntaxUID = syntax or pydicom.uid.ExplicitVRLittleEndian
        ds = pydicom.Dataset()
        ds.file_meta = meta
        ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        ds.PatientName, ds.PatientIdentityRemoved, ds.Modality = "Doe^Jane", "YES", "CT"
        colour = stored.ndim >= 3 and stored.shape[-1] == 3
        frames = stored.shape[0] if stored.ndim == (4 if colour else 3) else None
        ds.Rows, ds.Columns = stored.shape[-3:-1] if colour else stored.shape[-2:]
        if frames is not None:
            ds.NumberOfFrames = frames
        ds.SamplesPerPixel = 3 if colour else 1
        if colour:
            ds.PlanarConfiguration = 0
        ds.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
        ds.BitsAllocated = 8 * stored.dtype.itemsize
        ds.BitsStored, ds.HighBit = ds.BitsAllocated, ds.BitsAllocated - 1
        ds.PixelRepresentation = int(stored.dtype.kind == "i")
        ds.PixelData = stored.tobytes()
        ds["PixelData"].VR = "OB" if stored.dtype.itemsize == 1 else "OW"
        for key, value in elements.items():
            if value is None:
                delattr(ds, key)
            else:
                setattr(ds, key, value)
        path = tmp_path / name
        ds.save_as(path, enforce_file_format=True)
        return path

    return make


@pytest.fixture
def make_nifti(tmp_path: Path) -> Callable[..., Path]:
    """make_nifti(volume, affine) -> path of a .nii or .nii.gz (by name)."""

    def make(volume: np.ndarray, affine: np.ndarray | None = None, name: str = "volume.nii.gz") -> Path:
        path = tmp_path / name
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4) if affine is None else affine), path)
        return path

    return make


@pytest.fixture
def bomb_png(tmp_path: Path) -> Callable[[int, int], Path]:
    """bomb_png(width, height) -> a PNG of a few hundred bytes that announces that size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def make(width: int, height: int) -> Path:
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        body = zlib.compress(bytes(1000))
        path = tmp_path / "bomb.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
        return path

    return make


@pytest.fixture
def untouched() -> Callable[[Path], Callable[[], None]]:
    """untouched(path) -> a check that the file's bytes and modification time are still those of now."""

    def watch(path: Path) -> Callable[[], None]:
        os.utime(path, ns=(10**18, 10**18))
        before = path.read_bytes()

        def check() -> None:
            assert path.read_bytes() == before
            assert path.stat().st_mtime_ns == 10**18

        return check

    return watch
