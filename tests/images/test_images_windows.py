"""Named windows and 8-bit levels."""

import numpy as np
import pytest

from medproof.errors import UserError
from medproof.images.windows import (
    PRESETS,
    Window,
    apply_window,
    named_window,
    percentile_window,
    range_window,
    to_levels,
)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_cover_centre_and_width(name: str) -> None:
    window = named_window(name.upper().replace("-", " "))
    assert window is not None
    centre, width = PRESETS[name]
    assert (window.low + window.high) / 2 == centre
    assert window.high - window.low == width
    assert window.hounsfield


def test_numbers_and_percentile() -> None:
    assert named_window("-600/1500") == Window("-600/1500", -1350, 150)
    assert named_window("percentile") is None


@pytest.mark.parametrize("name", ["", "40/0", "40/-5", "nonsense", "lung/400"])
def test_unknown_windows(name: str) -> None:
    with pytest.raises(UserError, match="known are abdomen, bone"):
        named_window(name)


def test_levels_are_rounded_half_up_and_clamped() -> None:
    values = np.array([-1, 0, 0.5 / 255, 0.499 / 255, 1, 2, np.nan, np.inf, -np.inf])
    assert to_levels(values).tolist() == [0, 0, 1, 0, 255, 255, 0, 255, 0]


def test_empty_window_is_a_threshold() -> None:
    assert apply_window(np.array([1.0, 2, 3]), Window("", 2, 2)).tolist() == [0, 0, 255]


def test_ranges_ignore_what_is_not_finite() -> None:
    values = np.array([np.nan, 1, 2, 5, np.inf])
    assert range_window(values).low == 1
    assert range_window(values).high == 5
    assert percentile_window(values).high < 5
