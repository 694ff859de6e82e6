"""Pictures from data URLs: what is read, what is refused, and that a bomb is not unpacked."""

import base64
import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from server_fakes import data_url, picture

from medproof.images.grid import Grid
from medproof.server.errors import ApiError
from medproof.server.uploads import read_upload

GRID = Grid(min_pixels=28 * 28, max_pixels=56 * 56)
BOUND = 10_000


def read(url, **more):
    return read_upload(url, GRID, BOUND, **more)


def refused(url, **more):
    with pytest.raises(ApiError) as error:
        read(url, **more)
    assert "\n" not in error.value.message
    assert not any(place in error.value.message for place in ("/dev", "/tmp"))
    return error.value


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF"])
def test_pictures_are_rendered_to_the_grid(kind):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    upload = read(data_url(buffer.getvalue(), "image/whatever"))
    if kind != "JPEG":
        np.testing.assert_array_equal(upload.pixels, GRID.render(pixels))
    assert GRID.contains(*upload.pixels.shape[:2])
    assert upload.size == (60, 80)
    assert upload.sha256 == hashlib.sha256(buffer.getvalue()).hexdigest()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://example.org/a.png",
        "file:///etc/passwd",
        "data:image/png," + "A" * 10,
        "data:image/png;base64",
        "data:image/png;base64,%%%%",
        "data:image/png;base64,AAA",
        "data:image/png;base64,",
        data_url(b"hello, this is text"),
        data_url(picture()[:60]),
        data_url(b"\x1f\x8b" + b"\0" * 400),
        data_url(b"\0" * 344 + b"n+1\0" + b"\0" * 100),
        data_url(b"\0" * 128 + b"DICM" + b"\0" * 50),
        data_url(b"GIF89a" + b"\0" * 40),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(url):
    assert (refused(url).status, refused(url).code) == (400, "invalid_image")


def test_long_pictures_are_refused_as_the_grid_does():
    assert "200 : 1" in refused(data_url(picture(size=(1, 300)))).message


def huge_png(width, height):
    """A header that promises far more than the file holds."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + body + picture()[33:]


@pytest.mark.parametrize("size", [(101, 100), (5000, 5000), (100_000, 100_000)])
def test_too_many_pixels_are_refused_by_the_header(size, monkeypatch):
    monkeypatch.setattr("medproof.server.uploads.decode", lambda *_, **__: pytest.fail("it was unpacked"))
    error = refused(data_url(huge_png(*size)))
    assert (error.status, error.code) == (413, "image_too_large")


def dicom(removed="YES", rows=20, columns=30, **extra):
    pydicom = pytest.importorskip("pydicom", reason="package absent: pydicom")
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    file.Modality, file.PatientIdentityRemoved = "CT", removed
    file.Rows, file.Columns, file.SamplesPerPixel = rows, columns, 1
    file.PhotometricInterpretation, file.PixelRepresentation = "MONOCHROME2", 0
    file.BitsAllocated, file.BitsStored, file.HighBit = 8, 8, 7
    file.PixelData = bytes(range(200)) * 3
    for name, value in extra.items():
        setattr(file, name, value)
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return data_url(buffer.getvalue(), "application/dicom")


def test_dicom_is_read_where_it_says_that_nobody_is_named():
    assert read(dicom()).size == (20, 30)
    assert "PatientIdentityRemoved" in refused(dicom(removed="NO")).message
    assert read(dicom(removed="NO"), allow_identified=True).size == (20, 30)


def test_dicom_beyond_the_bound_and_with_several_frames():
    assert refused(dicom(rows=1000, columns=1000)).status == 413
    several = dicom(NumberOfFrames=2, rows=10)
    assert "frame" in refused(several).message
    assert read(several, frame=1).size == (10, 30)
    assert refused(dicom(), window="nonsense").code == "invalid_image"


def test_a_data_url_is_read_with_any_case_and_media_type():
    plain = base64.b64encode(picture()).decode()
    assert read("DATA:;BASE64," + plain).size == (40, 50)
