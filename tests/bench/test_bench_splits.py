"""No patient, image or near-duplicate on both sides."""

from pathlib import Path

import numpy as np
from PIL import Image

from medproof.bench import build
from medproof.bench.splits import Member, assign
from medproof.datasets.audit.overlap import look
from planted_corpus import lesion, planted, write


def picture(tmp_path: Path, name: str, seed: int, shift: int = 0) -> Path:
    rough = np.random.default_rng(seed).integers(0, 220, (24, 24)).astype(np.uint8)
    path = tmp_path / name
    Image.fromarray(np.minimum(np.kron(rough, np.ones((6, 6), np.uint8)) + shift, 255).astype(np.uint8)).save(path)
    return path


def member(tmp_path: Path, name: str, seed: int, patient: str | None, split: str | None, shift: int = 0) -> Member:
    return Member(name, patient, split, look(picture(tmp_path, f"{name}.png", seed, shift)))


def test_ties_to_training_are_left_out(tmp_path: Path) -> None:
    found = assign(
        [
            member(tmp_path, "train", 1, "A", "train"),
            member(tmp_path, "same patient", 2, "A", "test"),
            member(tmp_path, "same image", 1, "B", "test"),
            member(tmp_path, "brighter copy", 1, "C", "test", shift=3),
            member(tmp_path, "other", 3, "D", "test"),
        ],
        0.3,
        seed=0,
    )
    assert found.split_of == {"train": "train", "other": "test"}
    assert found.dropped == {
        "same patient": "its patient is in training too",
        "same image": "the same image is in training",
        "brighter copy": "a near-duplicate is in training",
    }


def test_without_splits_patients_stay_together(tmp_path: Path) -> None:
    members = [member(tmp_path, f"m{n}", n, f"P{n // 3}", None) for n in range(30)]
    split_of = assign(members, 0.3, seed=0).split_of
    assert sum(split == "test" for split in split_of.values()) == 9  # 3 patients of 10
    assert all(len({split_of[f"m{3 * p + i}"] for i in range(3)}) == 1 for p in range(10))
    assert assign(members[::-1], 0.3, seed=0).split_of == split_of
    assert assign(members, 0.3, seed=1).split_of != split_of


def test_without_patients_the_user_is_warned(tmp_path: Path) -> None:
    rows = [(row | {"patient": None, "split": None}, image, mask) for row, image, mask in planted()]
    built = build(str(write(tmp_path, rows)), None)
    assert built.card["warnings"] == [
        "the corpus names no patients: split by image, so train and test may share patients"
    ]
    assert built.card["items"]["test"] > 0
    assert built.card["patients"] == 0


def test_left_out_images_are_counted(tmp_path: Path) -> None:
    rows = planted()
    row, image, mask = lesion(101, (8, 8, 24, 20), patient="P0")
    built = build(str(write(tmp_path, [*rows, (row, image, mask)])), None)
    assert not any(item.case == "us-101" for item in built.bench.items)
    assert built.card["dropped"]["test image left out: its patient is in training too"] == 1
