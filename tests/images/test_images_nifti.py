"""Orientation, slices and windows of NIfTI volumes."""

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medproof.errors import UserError
from medproof.images.decode import check_header, decode

MakeNifti = Callable[..., Path]


@pytest.fixture
def volume() -> np.ndarray:
    """RAS+ (x to the right, y to the front, z up), no symmetry: a right, anterior bright corner."""
    values = np.random.default_rng(0).integers(0, 200, (8, 10, 6)).astype(np.int16)
    values[6:, 8:, :] = 1000
    return values


def test_radiological_convention(make_nifti: MakeNifti, volume: np.ndarray) -> None:
    """Patient right on image left, anterior up: the bright corner is at the upper left."""
    decoded = decode(make_nifti(volume), frame=2, window="500/1000")
    expected = np.floor(volume[::-1, ::-1, 2].T / 1000 * 255 + 0.5)
    np.testing.assert_array_equal(decoded.pixels[:, :, 0], expected)
    assert (decoded.pixels[:2, :2] == 255).all()
    assert decoded.info["frame"] == "2 of 6"
    assert decoded.info["orientation"] == "axial, patient right on image left"


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_the_same_volume_stored_otherwise_gives_the_same_picture(
    make_nifti: MakeNifti, volume: np.ndarray, order: tuple[int, int, int], flips: tuple[int, int, int]
) -> None:
    """nibabel rewrites array and affine together for every storage order; the picture must not change."""
    spacing = np.diag([0.5, 0.75, 3.0, 1.0])
    plain = nibabel.Nifti1Image(volume, spacing)
    other = plain.as_reoriented([[order[axis], flips[axis]] for axis in range(3)])
    first = decode(make_nifti(volume, spacing, name="a.nii"), frame=1)
    second = decode(make_nifti(np.asarray(other.dataobj), other.affine, name="b.nii.gz"), frame=1)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert first.info == second.info
    assert first.info["spacing"] == "0.75 x 0.5 mm"


def test_slices_are_counted_from_the_feet(make_nifti: MakeNifti) -> None:
    levels = np.broadcast_to(np.arange(4, dtype=np.int16) * 10, (3, 3, 4)).copy()
    up, down = np.diag([1.0, 1, 1, 1]), np.diag([1.0, 1, -1, 1])
    window = "15/30"
    assert (decode(make_nifti(levels, up), frame=3, window=window).pixels == 255).all()
    assert (decode(make_nifti(levels, down), frame=3, window=window).pixels == 0).all()


def test_volume_needs_a_slice(make_nifti: MakeNifti, volume: np.ndarray) -> None:
    path = make_nifti(volume)
    for function in (check_header, decode):
        with pytest.raises(UserError, match="holds 6 slices: say which one, frame=0 to 5"):
            function(path)
        with pytest.raises(UserError, match="no slice 6"):
            function(path, frame=6)
    single = make_nifti(volume[:, :, :1], name="single.nii")
    assert decode(single).pixels.shape == (10, 8, 3)
    flat = make_nifti(volume[:, :, 0], name="flat.nii")
    np.testing.assert_array_equal(decode(flat).pixels, decode(single).pixels)


def test_windows(make_nifti: MakeNifti, volume: np.ndarray) -> None:
    hounsfield = volume.astype(np.float32) - 500
    path = make_nifti(hounsfield)
    shown = decode(path, frame=0, window="lung").pixels[:, :, 0]
    expected = np.clip((hounsfield[::-1, ::-1, 0].T + 1350) / 1500, 0, 1) * 255
    assert np.abs(shown - expected).max() <= 0.5001
    low, high = np.percentile(hounsfield[:, :, 0], [0.5, 99.5])
    by_default = decode(path, frame=0)
    expected = np.clip((hounsfield[::-1, ::-1, 0].T - low) / (high - low), 0, 1) * 255
    assert np.abs(by_default.pixels[:, :, 0] - expected).max() <= 0.5001
    assert by_default.info["window"].startswith("percentile 0.5..99.5")
    with pytest.raises(UserError, match="did you mean 'brain'"):
        decode(path, frame=0, window="brian")


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.array([[[0.0]], [[1.5]], [[3.0]]]), np.eye(4))
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "scaled.nii")
    stored = nibabel.load(tmp_path / "scaled.nii")
    assert stored.dataobj.slope != 1.0  # nibabel chose one to fit the floats into 16 bit
    assert decode(tmp_path / "scaled.nii", window="1.5/3").pixels[0, :, 0].tolist() == [255, 128, 0]


def test_missing_values_and_constant_slices_are_black(make_nifti: MakeNifti) -> None:
    values = np.linspace(0, 1, 1000, dtype=np.float32).reshape(10, 100, 1)
    values[0, 0, 0] = np.nan
    pixels = decode(make_nifti(values)).pixels[:, :, 0]
    assert pixels[-1, -1] == 0
    assert pixels.max() == 255
    assert (decode(make_nifti(np.full((4, 4, 1), 7, np.int16), name="flat.nii")).pixels == 0).all()
    assert (decode(make_nifti(np.full((4, 4, 1), np.nan, np.float32), name="nan.nii")).pixels == 0).all()


def test_four_dimensions_are_refused_unless_the_last_is_one(make_nifti: MakeNifti, volume: np.ndarray) -> None:
    series = make_nifti(np.stack([volume, volume], axis=3), name="series.nii")
    for function in (check_header, decode):
        with pytest.raises(UserError, match="4 dimensions"):
            function(series, frame=0)
    one = decode(make_nifti(volume[..., None], name="one.nii"), frame=3)
    np.testing.assert_array_equal(one.pixels, decode(make_nifti(volume), frame=3).pixels)


def test_unstated_orientation_is_noted(tmp_path: Path, volume: np.ndarray) -> None:
    image = nibabel.Nifti1Image(volume, None)
    nibabel.save(image, tmp_path / "bare.nii")
    assert "assumed" in decode(tmp_path / "bare.nii", frame=0).info["orientation"]


def test_nifti2_is_read(tmp_path: Path, volume: np.ndarray, make_nifti: MakeNifti) -> None:
    nibabel.save(nibabel.Nifti2Image(volume, np.eye(4)), tmp_path / "two.nii")
    np.testing.assert_array_equal(
        decode(tmp_path / "two.nii", frame=1).pixels, decode(make_nifti(volume), frame=1).pixels
    )


def edited(path: Path, **fields: object) -> Path:
    """The same file with header fields overwritten, data left as they are."""
    whole = gzip.decompress(path.read_bytes())
    header = nibabel.Nifti1Header(whole[:348], check=False)
    for key, value in fields.items():
        header[key] = value
    path.write_bytes(gzip.compress(header.binaryblock + whole[348:]))
    return path


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dim": [3, 30000, 30000, 1, 1, 1, 1, 1]}, "30000 x 30000 pixels exceed"),
        ({"dim": [3, 2000, 2000, 2000, 1, 1, 1, 1]}, "larger than the bound"),
        ({"dim": [3, 0, 10, 6, 1, 1, 1, 1]}, "no picture"),
        ({"dim": [3, -5, 10, 6, 1, 1, 1, 1]}, "no picture"),
        ({"vox_offset": 1e12}, "damaged"),
        ({"datatype": 32, "bitpix": 64}, "complex64 are not grey values"),
        ({"datatype": 9999}, "damaged"),
        ({"sform_code": 1, "srow_x": [0, 0, 0, 0]}, "no direction"),
    ],
)
def test_absurd_headers_are_refused(
    make_nifti: MakeNifti, volume: np.ndarray, fields: dict[str, object], message: str
) -> None:
    path = edited(make_nifti(volume), **fields)
    for function in (check_header, decode):
        with pytest.raises(UserError, match=message):
            function(path, frame=0)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_truncated_volumes_are_refused(make_nifti: MakeNifti, volume: np.ndarray, name: str) -> None:
    path = make_nifti(volume, name=name)
    whole = path.read_bytes()
    for length in (100, 400, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=name):
            decode(path, frame=5)


def test_corrupted_headers_never_raise_anything_but_user_errors(
    make_nifti: MakeNifti, volume: np.ndarray, tmp_path: Path
) -> None:
    whole = np.frombuffer(make_nifti(volume, name="whole.nii").read_bytes(), np.uint8)
    path = tmp_path / "damaged.nii"
    rng = np.random.default_rng(0)
    refused: list[str] = []
    for _ in range(150):
        damaged = whole.copy()
        damaged[rng.integers(4, 348, 3)] ^= rng.integers(1, 256, 3, dtype=np.uint8)
        path.write_bytes(damaged.tobytes())
        try:
            decode(path, frame=0)
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert not any("\n" in message for message in refused)
