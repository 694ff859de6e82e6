from pathlib import Path

import numpy as np
import pytest
from fake_evaluation import make_dataset
from PIL import Image

from medproof.datasets import Dataset
from medproof.errors import UserError
from medproof.evaluation import images
from medproof.evaluation.images import ImageLoader, check
from medproof.images.decode import decode
from medproof.images.grid import Grid


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_dataset(tmp_path, 6)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files decoded, in order."""
    names: list[str] = []

    def counting(path: Path, **options: object) -> object:
        names.append(path.name)
        return decode(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(images, "decode", counting)
    return names


def test_pixels_are_on_the_grid(tmp_path: Path, dataset: Dataset) -> None:
    Image.fromarray(np.zeros((100, 131, 3), np.uint8)).save(tmp_path / "0.png")
    grid = Grid()
    loader = ImageLoader(dataset, grid)
    for item in dataset.items:
        assert grid.contains(*loader(item).shape[:2])
    assert loader(dataset.items[0]).shape == (*grid.size(100, 131), 3)
    assert ImageLoader(dataset, None)(dataset.items[0]).shape == (100, 131, 3)


def test_pixels_cannot_be_written_to(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="read-only"):
        ImageLoader(dataset, Grid())(dataset.items[0])[0, 0, 0] = 1


def test_recent_images_are_kept_within_bounds(dataset: Dataset, decoded: list[str]) -> None:
    big, small = 56 * 56 * 3, 28 * 56 * 3
    loader = ImageLoader(dataset, None, cache_bytes=big + small)
    for number in (0, 1, 0, 1, 3, 1, 0):
        loader(dataset.items[number])
    assert decoded == ["0.png", "1.png", "3.png", "0.png"]  # 3 pushed out 0, the least recently used


def test_an_image_larger_than_the_cache_is_not_kept(dataset: Dataset, decoded: list[str]) -> None:
    loader = ImageLoader(dataset, Grid(), cache_bytes=10)
    assert np.array_equal(loader(dataset.items[0]), loader(dataset.items[0]))
    assert decoded == ["0.png", "0.png"]


def test_another_frame_is_another_image(dataset: Dataset) -> None:
    item = dataset.items[0]
    loader = ImageLoader(dataset, Grid())
    loader(item)
    with pytest.raises(UserError):
        loader(item.model_copy(update={"window": "lung"}))


def test_check_counts_the_distinct_images(dataset: Dataset) -> None:
    assert check(Dataset(name="twice", root=dataset.root, items=dataset.items * 2)) == 6


def test_check_names_the_first_bad_image(dataset: Dataset) -> None:
    (dataset.root / "2.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"2\.png") as caught:
        check(dataset)
    assert "images cannot be used" not in str(caught.value)
    (dataset.root / "4.png").unlink()
    with pytest.raises(UserError, match=r"^2 of 6 images cannot be used; first: .*2\.png"):
        check(dataset)
