"""Audit, image side: copies across splits are found by path, content and look; different images are not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medproof.datasets.audit.model import ImageOverlap
from medproof.datasets.audit.overlap import image_overlap, look
from medproof.errors import UserError
from medproof.records import Item

Scene = Callable[[int], Image.Image]


def scene(seed: int) -> Image.Image:
    """A smooth random grey picture with a dark rim, as medical images have."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9), dtype=np.uint8)).resize((160, 120), Image.Resampling.BICUBIC)
    pixels = np.asarray(coarse).copy()
    pixels[:20], pixels[-20:] = 0, 0
    return Image.fromarray(pixels)


def items(names: list[str], split: str) -> list[Item]:
    rows: list[dict[str, Any]] = [
        {
            "id": f"{split}:{name}",
            "image": name,
            "case": name,
            "modality": "CT",
            "question_type": "Disease Diagnosis",
            "question": "What?",
            "options": ("a", "b"),
            "answer": "a",
            "split": split,
        }
        for name in names
    ]
    return [Item.model_validate(row) for row in rows]


@pytest.fixture
def compare(tmp_path: Path) -> Callable[[dict[str, Image.Image], dict[str, Image.Image]], ImageOverlap]:
    """Write the images of two splits and compare them."""

    def write(images: dict[str, Image.Image]) -> list[str]:
        for name, image in images.items():
            image.save(tmp_path / name, quality=60)
        return list(images)

    def run(test: dict[str, Image.Image], train: dict[str, Image.Image]) -> ImageOverlap:
        def path_of(item: Item) -> Path:
            return tmp_path / item.image

        return image_overlap(items(write(test), "test"), items(write(train), "train"), path_of, path_of)

    return run


def test_identical_file_under_another_name(compare: Any) -> None:
    result = compare({"t.png": scene(1), "u.png": scene(2)}, {"v.png": scene(1), "w.png": scene(3)})
    assert (result.by_path, result.by_content, result.near_duplicates, result.test_items) == (0, 1, 1, 1)
    assert result.examples == (("t.png", "v.png"),)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((120, 90)),
        lambda image: image.point(lambda level: min(255, int(level * 1.15))),
        lambda image: image.convert("RGB"),
    ],
    ids=["smaller", "brighter", "rgb"],
)
def test_changed_and_recompressed_copies_are_near_duplicates(compare: Any, change: Scene) -> None:
    originals = {f"t{n}.png": scene(n) for n in range(8)}
    copies = {f"c{n}.jpg": change(scene(n)) for n in range(8)}  # type: ignore[arg-type]
    result = compare(originals, copies)
    assert result.by_content == 0
    assert result.near_duplicates == 8
    assert dict(result.examples) == {f"t{n}.png": f"c{n}.jpg" for n in range(8)}


def test_different_images_are_not_near_duplicates(compare: Any) -> None:
    result = compare({f"t{n}.png": scene(n) for n in range(20)}, {f"v{n}.png": scene(100 + n) for n in range(20)})
    assert (result.near_duplicates, result.test_items, result.examples) == (0, 0, ())


def test_flat_images_are_compared_by_level(compare: Any) -> None:
    black, grey = Image.new("L", (64, 64), 0), Image.new("L", (64, 64), 90)
    result = compare({"black.png": black, "grey.png": grey}, {"other.png": Image.new("L", (80, 80), 1)})
    assert dict(result.examples) == {"black.png": "other.png"}


def test_same_path_counts_and_every_question_about_it(tmp_path: Path) -> None:
    test = items(["a.png", "b.png"], "test")
    twice = [*test, test[0].model_copy(update={"id": "second"})]
    result = image_overlap(twice, items(["a.png"], "train"))
    assert (result.test_images, result.by_path, result.test_items) == (2, 1, 2)
    assert (result.by_content, result.reason) == (None, "image files were not read")


def test_frames_of_one_file_are_different_images() -> None:
    first, second = (items(["v.nii"], "test")[0].model_copy(update={"frame": frame}) for frame in (1, 2))
    assert image_overlap([first], [second]).by_path == 0


def test_absent_images_are_skipped_with_the_reason(tmp_path: Path) -> None:
    def path_of(item: Item) -> Path:
        raise UserError(f"{item.image} is not there")

    result = image_overlap(items(["a.png"], "test"), items(["b.png"], "train"), path_of, path_of)
    assert result.by_path == 0
    assert result.near_duplicates is None
    assert "--images ROOT" in (result.reason or "")


def test_an_unreadable_image_is_counted_and_named_and_the_rest_compared(compare: Any, tmp_path: Path) -> None:
    scene(1).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:200])

    def path_of(item: Item) -> Path:
        return tmp_path / item.image

    result = image_overlap(items(["good.png", "bad.png"], "test"), items(["good.png"], "train"), path_of, path_of)
    assert (result.unreadable, result.by_content) == (1, 1)
    assert "bad.png" in (result.reason or "")


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        scene(ord(name[0])).save(tmp_path / name)
    calls: list[tuple[str, int, int]] = []
    image_overlap(
        items(["a.png", "b.png"], "test"),
        items(["c.png"], "train"),
        lambda item: tmp_path / item.image,
        lambda item: tmp_path / item.image,
        lambda *call: calls.append(call),
    )
    assert calls[1] == ("hashing test images", 2, 2)
    assert calls[-1] == ("hashing training images", 1, 1)


def test_look_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.png"):
        look(tmp_path / "gone.png")
