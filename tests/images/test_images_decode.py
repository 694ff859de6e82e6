"""Dispatch by content, and what every format has in common."""

import builtins
import gzip
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medproof.errors import UserError
from medproof.images.decode import MAX_PIXELS, check_header, decode


def both_refuse(path: Path, match: str, **options: object) -> None:
    """`check_header` and `decode` refuse it alike, with one line that names the file."""
    for function in (check_header, decode):
        with pytest.raises(UserError, match=match) as caught:
            function(path, **options)  # type: ignore[operator]
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)


def test_content_decides_not_the_name(
    tmp_path: Path, gradient: np.ndarray, make_dicom: Callable[..., Path], make_nifti: Callable[..., Path]
) -> None:
    png = tmp_path / "really_a_png.jpg"
    Image.fromarray(gradient).save(png, "PNG")
    np.testing.assert_array_equal(decode(png).pixels, gradient)
    dicom = make_dicom(np.zeros((4, 4), np.int16), name="scan.png")
    assert decode(dicom).info["format"] == "DICOM"
    nifti = make_nifti(np.zeros((4, 4, 1), np.int16)).rename(tmp_path / "volume.dcm")
    assert decode(nifti).info["format"] == "NIfTI"


def test_missing_folder_empty_and_unknown_files(tmp_path: Path) -> None:
    both_refuse(tmp_path / "absent.png", "does not exist")
    (tmp_path / "folder").mkdir()
    both_refuse(tmp_path / "folder", "cannot be read")
    (tmp_path / "empty.png").touch()
    both_refuse(tmp_path / "empty.png", "is empty")
    (tmp_path / "notes.png").write_text("not an image at all")
    both_refuse(tmp_path / "notes.png", "is no PNG")
    (tmp_path / "notes.gz").write_bytes(gzip.compress(b"x" * 500))
    both_refuse(tmp_path / "notes.gz", "unpack it first")
    (tmp_path / "broken.nii.gz").write_bytes(gzip.compress(bytes(500))[:12])
    both_refuse(tmp_path / "broken.nii.gz", "damaged")


def test_bomb_is_refused_at_once_without_memory(bomb_png: Callable[[int, int], Path]) -> None:
    path = bomb_png(30_000, 30_000)
    both_refuse(path, "bound")  # imports done, now measure
    tracemalloc.start()
    start = time.perf_counter()
    both_refuse(path, "bound")
    seconds = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 1
    assert peak < 10**6


def test_the_bound_is_on_pixels(bomb_png: Callable[[int, int], Path]) -> None:
    both_refuse(bomb_png(MAX_PIXELS // 8192 + 1, 8192), "8193 x 8192 pixels exceed")
    check_header(bomb_png(MAX_PIXELS // 8192, 8192))


@pytest.mark.parametrize("missing", ["pydicom", "nibabel"])
def test_missing_extra_names_the_install_command(
    missing: str,
    make_dicom: Callable[..., Path],
    make_nifti: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = np.zeros((4, 4), np.int16)
    path = make_dicom(image) if missing == "pydicom" else make_nifti(image[:, :, None])
    real_import = builtins.__import__

    def without(name: str, *args: object, **kwargs: object) -> object:
        if name.split(".")[0] == missing:
            raise ImportError(name)
        return real_import(name, *args, **kwargs)  # type: ignore[arg-type]

    for name in [n for n in sys.modules if n.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    for function in (check_header, decode):
        with pytest.raises(UserError, match=r"pip install medproof\[dicom\]"):
            function(path)


def test_inputs_are_never_written(
    tmp_path: Path,
    gradient: np.ndarray,
    make_dicom: Callable[..., Path],
    make_nifti: Callable[..., Path],
    untouched: Callable[[Path], Callable[[], None]],
) -> None:
    png = tmp_path / "a.png"
    Image.fromarray(gradient).save(png)
    paths = [
        png,
        make_dicom(np.arange(64, dtype=np.int16).reshape(8, 8)),
        make_nifti(np.ones((4, 5, 6), np.float32)),
    ]
    for path in paths:
        check_unchanged = untouched(path)
        frame = 0
        check_header(path, frame=frame)
        decode(path, frame=frame)
        check_unchanged()


def test_header_checks_agree_with_decoding(tmp_path: Path, gradient: np.ndarray) -> None:
    """`check_header` passes what `decode` passes; only damage to the pixels is left to `decode`."""
    path = tmp_path / "a.png"
    Image.fromarray(gradient).save(path)
    check_header(path)
    path.write_bytes(path.read_bytes()[:-200])
    check_header(path)
    with pytest.raises(UserError, match="damaged or cut off"):
        decode(path)
