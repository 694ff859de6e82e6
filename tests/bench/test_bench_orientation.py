"""Places in the picture to sides of the patient."""

import pytest

from medproof.bench.orientation import image_quarter, patient_quadrant, patient_side


@pytest.mark.parametrize(
    ("x", "y", "convention", "answer"),
    [
        (0.2, 0.2, "axial", "patient's right, anterior"),
        (0.8, 0.9, "axial", "patient's left, posterior"),
        (0.2, 0.2, "frontal", "patient's right, upper"),
        (0.8, 0.9, "frontal", "patient's left, lower"),
        (0.52, 0.9, "axial", None),
        (0.2, 0.45, "frontal", None),
    ],
)
def test_quadrants(x: float, y: float, convention: str, answer: str | None) -> None:
    assert patient_quadrant(x, y, convention) == answer


def test_mirroring_swaps_the_sides() -> None:
    for x in (0.1, 0.3, 0.7):
        assert {patient_side(x), patient_side(1 - x)} == {"patient's right", "patient's left"}
        assert image_quarter(x, 0.2).replace("left", "right") == image_quarter(max(x, 1 - x), 0.2)
    assert patient_side(0.5) is None
