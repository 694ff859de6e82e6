from collections.abc import Sequence

import pytest
from dataset_rows import make_row

from medproof.datasets import position
from medproof.datasets.corpus import Row


def row_with(*boxes: tuple[str, Sequence[float]]) -> Row:
    return Row.model_validate(
        make_row(0, width=100, height=200, boxes=[{"label": label, "xyxy": list(xyxy)} for label, xyxy in boxes])
    )


@pytest.mark.parametrize(
    ("xyxy", "quadrant", "phrase"),
    [
        ((0, 0, 20, 20), "upper left", "upper left of the image"),
        ((80, 160, 100, 200), "lower right", "lower right of the image"),
        ((80, 90, 100, 110), None, "right of the image"),
        ((45, 150, 55, 190), None, "lower part of the image"),
        ((40, 90, 60, 110), None, "centre of the image"),
    ],
)
def test_the_place_of_a_single_lesion(xyxy: Sequence[float], quadrant: str | None, phrase: str) -> None:
    row = row_with(("lesion", xyxy), ("liver", (0, 0, 5, 5)))
    found = position.target(row)
    assert found is not None
    assert found[0] == "lesion"
    assert position.quadrant(row, found[1]) == quadrant
    assert position.phrase(row, found[1]) == phrase


def test_two_lesions_have_no_single_place() -> None:
    assert position.target(row_with(("lesion", (0, 0, 9, 9)), ("lesion", (50, 50, 60, 60)))) is None
    assert position.target(row_with(("liver", (0, 0, 9, 9)))) is None


def test_area_is_a_share_of_the_image() -> None:
    row = row_with(("tumour (FLAIR abnormality)", (0, 0, 50, 100)))
    found = position.target(row)
    assert found is not None
    assert found[0] == "tumour"
    assert position.area_share(row, found[1]) == pytest.approx(0.25)
