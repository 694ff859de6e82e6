"""PNG, JPEG, BMP and TIFF."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medproof.errors import UserError
from medproof.images.decode import check_header, decode


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_lossless_formats_are_exact(tmp_path: Path, gradient: np.ndarray, name: str) -> None:
    Image.fromarray(gradient).save(tmp_path / name)
    decoded = decode(tmp_path / name)
    np.testing.assert_array_equal(decoded.pixels, gradient)
    assert decoded.pixels.flags.c_contiguous
    assert decoded.info["mode"] == "RGB"


def test_jpeg_equals_pil(tmp_path: Path, gradient: np.ndarray) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(gradient).save(path, quality=90)
    with Image.open(path) as image:
        np.testing.assert_array_equal(decode(path).pixels, np.array(image))


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr"])
def test_other_modes_become_rgb_as_pil_does(tmp_path: Path, gradient: np.ndarray, mode: str) -> None:
    path = tmp_path / "a.tif"
    image = Image.fromarray(gradient).convert(mode)
    image.save(path)
    with Image.open(path) as stored:
        np.testing.assert_array_equal(decode(path).pixels, np.array(stored.convert("RGB")))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_uses_the_full_range(tmp_path: Path, name: str) -> None:
    values = np.array([[0, 128, 129, 256, 257], [32767, 32768, 65406, 65407, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / name)
    expected = np.floor(values / 65535 * 255 + 0.5)
    pixels = decode(tmp_path / name).pixels
    np.testing.assert_array_equal(pixels[:, :, 0], expected)
    assert (pixels == pixels[:, :, :1]).all()


def test_floating_point_and_wide_integers_have_no_range(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(UserError, match="floating-point"):
        decode(tmp_path / "f.tif")
    Image.fromarray(np.full((4, 4), 70000, np.int32)).save(tmp_path / "i.tif")
    with pytest.raises(UserError, match=r"beyond 0\.\.65535"):
        decode(tmp_path / "i.tif")


def test_transparency_lies_over_black(tmp_path: Path) -> None:
    rgba = np.zeros((2, 3, 4), np.uint8)
    rgba[..., :3] = (200, 100, 50)
    rgba[:, 0, 3], rgba[:, 1, 3], rgba[:, 2, 3] = 0, 128, 255
    Image.fromarray(rgba).save(tmp_path / "a.png")
    pixels = decode(tmp_path / "a.png").pixels
    np.testing.assert_array_equal(pixels[0, 0], [0, 0, 0])
    np.testing.assert_allclose(pixels[0, 1], np.array([200, 100, 50]) * 128 / 255, atol=1)
    np.testing.assert_array_equal(pixels[0, 2], [200, 100, 50])


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 240, 230, 220])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "opaque.png")
    assert decode(tmp_path / "opaque.png").pixels.tolist() == [[[10, 20, 30], [240, 230, 220]]]
    image.save(tmp_path / "clear.png", transparency=1)
    assert decode(tmp_path / "clear.png").pixels.tolist() == [[[10, 20, 30], [0, 0, 0]]]


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(tmp_path: Path, name: str, orientation: int) -> None:
    """The picture as meant has a white upper left corner; it is stored turned and flipped as the tag says."""
    upright = np.zeros((32, 48), np.uint8)
    upright[:16, :16] = 255
    store = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }
    image = Image.fromarray(np.ascontiguousarray(store[orientation]))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / name, exif=exif)
    pixels = decode(tmp_path / name).pixels
    assert pixels.shape == (32, 48, 3)
    assert np.abs(pixels[:, :, 0].astype(int) - upright).max() < 8


def test_multi_page_tiff_needs_a_frame(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((4, 5), level, np.uint8)) for level in (10, 20, 30)]
    path = tmp_path / "a.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    for function in (check_header, decode):
        with pytest.raises(UserError, match="holds 3 frames: say which one, frame=0 to 2"):
            function(path)
        with pytest.raises(UserError, match="no frame 3"):
            function(path, frame=3)
    decoded = decode(path, frame=1)
    assert (decoded.pixels == 20).all()
    assert decoded.info["frame"] == "1 of 3"


def test_frame_and_window_of_a_plain_picture(tmp_path: Path, gradient: np.ndarray) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(gradient).save(path)
    assert "frame" not in decode(path, frame=0).info
    with pytest.raises(UserError, match="no frame 1"):
        decode(path, frame=1)
    with pytest.raises(UserError, match="DICOM and NIfTI only"):
        decode(path, window="lung")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif"])
def test_truncated_files_are_refused_wherever_they_end(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / name
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    for share in (0.01, 0.1, 0.5, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(UserError, match=f"{name}.*(damaged or cut off|is no PNG)"):
            decode(path)


def test_corrupted_bytes_never_raise_anything_but_user_errors(tmp_path: Path, gradient: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for name in ("a.png", "a.tif", "a.jpg", "a.bmp"):
        path = tmp_path / name
        Image.fromarray(gradient).save(path)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(40):
            damaged = whole.copy()
            damaged[rng.integers(8, min(len(damaged), 300), 3)] ^= rng.integers(1, 256, 3, dtype=np.uint8)
            path.write_bytes(damaged.tobytes())
            try:
                decode(path)
            except UserError:
                refused += 1
    assert refused > 10
