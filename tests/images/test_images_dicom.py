"""The grey-scale pipeline, colour, frames and the de-identification gate."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from medproof.errors import UserError
from medproof.images.decode import check_header, decode

MakeDicom = Callable[..., Path]
HU = {"RescaleSlope": 2.0, "RescaleIntercept": -1024.0, "RescaleType": "HU"}


def gray(path: Path, **options: Any) -> np.ndarray:
    pixels = decode(path, **options).pixels
    assert (pixels == pixels[:, :, :1]).all()
    return pixels[:, :, 0]


def linear(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.floor(np.clip((values - low) / (high - low), 0, 1) * 255 + 0.5)


@pytest.fixture
def stored() -> np.ndarray:
    return np.arange(0, 1200, 10, dtype=np.int16).reshape(10, 12)


def test_without_window_the_range_is_shown(make_dicom: MakeDicom, stored: np.ndarray) -> None:
    path = make_dicom(stored)
    np.testing.assert_array_equal(gray(path), linear(stored, 0, 1190))
    assert decode(path).info["window"] == "range 0..1190"


def test_8_bit_values_without_window_stay_as_they_are(make_dicom: MakeDicom) -> None:
    stored = np.arange(50, 114, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(gray(make_dicom(stored)), stored)


def test_monochrome1_is_inverted_after_windowing(make_dicom: MakeDicom, stored: np.ndarray) -> None:
    options = {"WindowCenter": 600, "WindowWidth": 400}
    plain = gray(make_dicom(stored, name="two.dcm", **options))
    inverted = gray(make_dicom(stored, name="one.dcm", PhotometricInterpretation="MONOCHROME1", **options))
    np.testing.assert_array_equal(inverted, 255 - plain)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_of_the_file_equal_pydicoms(make_dicom: MakeDicom, stored: np.ndarray, function: str) -> None:
    """pydicom scales to the range of the rescaled stored values; ours to 0..255."""
    path = make_dicom(stored, WindowCenter=300, WindowWidth=700, VOILUTFunction=function, **HU)
    ds = pydicom.dcmread(path)
    shown = pydicom.pixels.apply_windowing(pydicom.pixels.apply_modality_lut(stored, ds), ds)
    low, high = -32768 * 2.0 - 1024, 32767 * 2.0 - 1024
    expected = (shown - low) / (high - low) * 255
    assert np.abs(gray(path) - expected).max() <= 0.51
    assert decode(path).info["window"].startswith("300/700 of the file")


def test_window_of_width_one_is_a_threshold(make_dicom: MakeDicom, stored: np.ndarray) -> None:
    path = make_dicom(stored, WindowCenter=500.5, WindowWidth=1)
    np.testing.assert_array_equal(gray(path), np.where(stored > 500, 255, 0))


def test_first_of_several_windows_or_the_one_named(make_dicom: MakeDicom, stored: np.ndarray) -> None:
    options = {
        "WindowCenter": [200, 800],
        "WindowWidth": [101, 201],
        "WindowCenterWidthExplanation": ["NARROW", "WIDE"],
    }
    path = make_dicom(stored, **options)
    np.testing.assert_array_equal(gray(path), linear(stored, 149.5, 249.5))
    np.testing.assert_array_equal(gray(path, window="wide"), linear(stored, 699.5, 899.5))


def test_named_windows_are_in_hounsfield_units(make_dicom: MakeDicom, stored: np.ndarray) -> None:
    path = make_dicom(stored, WindowCenter=1, WindowWidth=2, **HU)
    np.testing.assert_array_equal(gray(path, window="lung"), linear(stored * 2.0 - 1024, -1350, 150))
    np.testing.assert_array_equal(gray(path, window="Soft_Tissue"), linear(stored * 2.0 - 1024, -150, 250))
    np.testing.assert_array_equal(gray(path, window="40/400"), linear(stored * 2.0 - 1024, -160, 240))
    assert decode(path, window="lung").info["window"] == "lung (-600/1500 HU)"


def test_named_window_of_what_is_not_ct_is_refused(make_dicom: MakeDicom, stored: np.ndarray) -> None:
    for elements in ({"Modality": "MR", **HU}, {}, {**HU, "RescaleType": "US"}):
        with pytest.raises(UserError, match="Hounsfield units and this image"):
            decode(make_dicom(stored, **elements), window="lung")
    path = make_dicom(stored, Modality="MR")
    assert decode(path, window="percentile").info["window"].startswith("percentile 0.5..99.5")


def test_unknown_window_has_a_suggestion(make_dicom: MakeDicom, stored: np.ndarray) -> None:
    with pytest.raises(UserError, match="did you mean 'lung'"):
        decode(make_dicom(stored, **HU), window="lungs")


def lut(data: list[int], first: int, bits: int, as_bytes: bool = False) -> Any:
    item = pydicom.Dataset()
    item.LUTDescriptor = [len(data), first, bits]
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    item.LUTData = np.array(data, "<u2").tobytes() if as_bytes else data
    item["LUTData"].VR = "OW" if as_bytes else "US"
    item.ModalityLUTType = "US"
    return item


@pytest.mark.parametrize("as_bytes", [True, False])
def test_voi_lut_sequence_wins_over_the_window(make_dicom: MakeDicom, as_bytes: bool) -> None:
    stored = np.arange(16, dtype=np.uint16).reshape(4, 4)
    table = [0, 4095, 100, 3000]
    path = make_dicom(stored, VOILUTSequence=[lut(table, 5, 12, as_bytes)], WindowCenter=8, WindowWidth=16)
    expected = np.array([table[np.clip(v - 5, 0, 3)] for v in range(16)]).reshape(4, 4) / 4095 * 255
    np.testing.assert_array_equal(gray(path), np.floor(expected + 0.5))
    assert decode(path).info["window"] == "VOI LUT of the file"


def test_modality_lut_comes_before_the_window(make_dicom: MakeDicom) -> None:
    stored = np.arange(4, dtype=np.uint16).reshape(2, 2)
    path = make_dicom(
        stored, ModalityLUTSequence=[lut([1000, 0, 500, 250], 0, 16)], WindowCenter=500.5, WindowWidth=1001
    )
    np.testing.assert_array_equal(gray(path), linear(np.array([[1000, 0], [500, 250]]), 0, 1000))


def test_lut_shorter_than_announced_is_refused(make_dicom: MakeDicom) -> None:
    item = lut([1, 2, 3], 0, 12)
    item.LUTDescriptor = [100, 0, 12]
    with pytest.raises(UserError, match="3 entries where 100"):
        decode(make_dicom(np.zeros((2, 2), np.uint16), VOILUTSequence=[item]))


def test_padding_does_not_widen_the_range(make_dicom: MakeDicom, stored: np.ndarray) -> None:
    stored[0] = -2000
    path = make_dicom(stored, PixelPaddingValue=-2000)
    np.testing.assert_array_equal(gray(path), linear(stored, stored[1:].min(), stored.max()))
    assert (gray(path)[0] == 0).all()


def test_multi_frame_needs_a_frame(make_dicom: MakeDicom) -> None:
    stored = (np.arange(3, dtype=np.uint8) * 50)[:, None, None] + np.zeros((3, 4, 4), np.uint8)
    path = make_dicom(stored)
    for function in (check_header, decode):
        with pytest.raises(UserError, match="holds 3 frames: say which one"):
            function(path)
        with pytest.raises(UserError, match="no frame 7"):
            function(path, frame=7)
    decoded = decode(path, frame=2)
    assert (decoded.pixels == 100).all()
    assert decoded.info["frame"] == "2 of 3"


def test_functional_groups_of_the_frame_are_used(make_dicom: MakeDicom) -> None:
    """Enhanced multi-frame: rescale and spacing shared, window per frame."""

    def item(**elements: Any) -> Any:
        ds = pydicom.Dataset()
        for key, value in elements.items():
            setattr(ds, key, value)
        return ds

    stored = np.tile(np.arange(100, dtype=np.uint16).reshape(1, 10, 10), (2, 1, 1))
    shared = item(
        PixelValueTransformationSequence=[item(RescaleSlope=1.0, RescaleIntercept=-50.0)],
        PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.25])],
    )
    frames = [item(FrameVOILUTSequence=[item(WindowCenter=c + 0.5, WindowWidth=11)]) for c in (-20, 20)]
    path = make_dicom(stored, SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=frames)
    for index, centre in enumerate((-20, 20)):
        np.testing.assert_array_equal(
            gray(path, frame=index), linear(stored[0].astype(float) - 50, centre - 5, centre + 5)
        )
    assert decode(path, frame=0).info["spacing"] == "0.5 x 0.25 mm"


@pytest.mark.parametrize("value", [None, "NO", ""])
def test_identified_pixels_are_refused_unless_allowed(make_dicom: MakeDicom, stored: np.ndarray, value: Any) -> None:
    path = make_dicom(stored, PatientIdentityRemoved=value)
    for function in (check_header, decode):
        with pytest.raises(UserError, match="--allow-identified") as caught:
            function(path)
        assert "Doe" not in str(caught.value)
    check_header(path, allow_identified=True)
    decoded = decode(path, allow_identified=True)
    assert decoded.pixels.shape == (10, 12, 3)
    assert "Doe" not in str(dict(decoded.info))


def test_burned_in_identity_is_refused_unless_allowed(make_dicom: MakeDicom, stored: np.ndarray) -> None:
    path = make_dicom(stored, BurnedInAnnotation="YES")
    with pytest.raises(UserError, match="BurnedInAnnotation is YES"):
        check_header(path)
    check_header(path, allow_identified=True)


def test_spacing_in_info(make_dicom: MakeDicom, stored: np.ndarray) -> None:
    assert decode(make_dicom(stored, PixelSpacing=[0.7, 0.8])).info["spacing"] == "0.7 x 0.8 mm"
    detector = make_dicom(stored, ImagerPixelSpacing=[0.1, 0.1])
    assert decode(detector).info["spacing"] == "0.1 x 0.1 mm at the detector"
    assert "spacing" not in decode(make_dicom(stored)).info


def test_colour(make_dicom: MakeDicom) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode(make_dicom(rgb)).pixels, rgb)
    np.testing.assert_array_equal(decode(make_dicom(np.stack([rgb, 255 - rgb])), frame=1).pixels, 255 - rgb)
    planar = make_dicom(rgb, PlanarConfiguration=1, PixelData=rgb.transpose(2, 0, 1).tobytes())
    np.testing.assert_array_equal(decode(planar).pixels, rgb)
    ybr = pydicom.pixels.convert_color_space(rgb, "RGB", "YBR_FULL")
    decoded = decode(make_dicom(ybr, PhotometricInterpretation="YBR_FULL")).pixels
    assert np.abs(decoded.astype(int) - rgb).max() <= 3
    with pytest.raises(UserError, match="colour image"):
        decode(make_dicom(rgb), window="lung")


def test_palette_colour(make_dicom: MakeDicom) -> None:
    elements: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, values in (("Red", [0, 65535]), ("Green", [65535, 0]), ("Blue", [257 * 100, 257 * 7])):
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [2, 0, 16]
        elements[f"{name}PaletteColorLookupTableData"] = np.array(values, "<u2").tobytes()
    path = make_dicom(np.array([[0, 1]], np.uint8), **elements)
    assert decode(path).pixels.tolist() == [[[0, 255, 100], [255, 0, 7]]]


def test_compressed_rle_is_read(make_dicom: MakeDicom) -> None:
    stored = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16
    path = make_dicom(stored)
    ds = pydicom.dcmread(path)
    ds.compress(pydicom.uid.RLELossless)
    ds.save_as(path)
    np.testing.assert_array_equal(gray(path), linear(stored, 0, 255 * 16))


@pytest.mark.parametrize("syntax", ["JPEGLSLossless", "MPEG2MPML"])
def test_compression_without_a_decoder_gives_one_line(make_dicom: MakeDicom, syntax: str) -> None:
    uid = getattr(pydicom.uid, syntax)
    data = pydicom.encaps.encapsulate([bytes(64)])
    path = make_dicom(np.zeros((4, 4), np.uint8), syntax=uid, PixelData=data)
    for function in (check_header, decode):
        with pytest.raises(UserError, match=r"pylibjpeg|not known") as caught:
            function(path)
        assert "\n" not in str(caught.value)


def test_deflated_is_refused_before_it_is_inflated(make_dicom: MakeDicom, stored: np.ndarray) -> None:
    path = make_dicom(stored, syntax=pydicom.uid.DeflatedExplicitVRLittleEndian)
    with pytest.raises(UserError, match="deflated"):
        check_header(path)


def test_sizes_are_bounded_from_the_header(make_dicom: MakeDicom) -> None:
    tiny = np.zeros((2, 2), np.uint8)
    for elements, message in (
        ({"Rows": 30000, "Columns": 30000}, "30000 x 30000 pixels exceed"),
        ({"NumberOfFrames": 2**31 - 1}, "larger than the bound"),
        ({"Rows": 0}, "holds no picture"),
        ({"Rows": None}, "holds no picture"),
        ({"NumberOfFrames": -2}, "-2 frames"),
    ):
        path = make_dicom(tiny, **elements)
        for function in (check_header, decode):
            with pytest.raises(UserError, match=message):
                function(path, frame=0)


def test_truncated_dicom_is_refused_wherever_it_ends(make_dicom: MakeDicom, stored: np.ndarray) -> None:
    path = make_dicom(stored)
    whole = path.read_bytes()
    for length in (140, 200, len(whole) // 2, len(whole) - 100, len(whole) - 2):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"image\.dcm"):
            decode(path)


def test_header_without_pixels_is_refused(make_dicom: MakeDicom, stored: np.ndarray) -> None:
    with pytest.raises(UserError, match="damaged or cut off"):
        decode(make_dicom(stored, PixelData=None))


def test_corrupted_headers_never_raise_anything_but_user_errors(
    make_dicom: MakeDicom, stored: np.ndarray, tmp_path: Path
) -> None:
    whole = np.frombuffer(
        make_dicom(stored, PixelSpacing=[0.5, 0.5], WindowCenter=3, WindowWidth=9, **HU).read_bytes(), np.uint8
    )
    path = tmp_path / "damaged.dcm"
    rng = np.random.default_rng(0)
    refused: list[str] = []
    for _ in range(150):
        damaged = whole.copy()
        damaged[rng.integers(132, len(whole) - stored.nbytes, 3)] ^= rng.integers(1, 256, 3, dtype=np.uint8)
        path.write_bytes(damaged.tobytes())
        try:
            decode(path, frame=0, allow_identified=True)
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert not any("\n" in message for message in refused)
