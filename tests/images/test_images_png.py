"""PNG round trip."""

import io

import numpy as np
import pytest
from PIL import Image

from medproof.errors import UserError
from medproof.images.png import decode_png, encode_png


def test_round_trip_is_exact_and_deterministic() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 56, 3), dtype=np.uint8)
    data = encode_png(pixels)
    np.testing.assert_array_equal(decode_png(data), pixels)
    assert encode_png(np.asfortranarray(pixels)) == data


def test_damaged_or_foreign_png_is_refused() -> None:
    data = encode_png(np.zeros((64, 64, 3), np.uint8))
    for broken in (b"", data[:20], data[: len(data) // 2], b"GIF89a" + data):
        with pytest.raises(UserError, match="run the same command again"):
            decode_png(broken)
    grey = io.BytesIO()
    Image.new("L", (4, 4)).save(grey, "PNG")
    with pytest.raises(UserError, match="mode L"):
        decode_png(grey.getvalue())


def test_only_8_bit_rgb_is_written() -> None:
    with pytest.raises(ValueError, match="uint8"):
        encode_png(np.zeros((4, 4), np.uint8))
