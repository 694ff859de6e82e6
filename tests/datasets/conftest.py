"""A tiny annotated corpus on disk."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from dataset_rows import RowDict
from PIL import Image

from medproof.datasets import Dataset, load


@pytest.fixture
def write_corpus(tmp_path: Path) -> Callable[[list[RowDict]], Path]:
    """Writes rows and their images under a fresh folder and returns it. Paths that leave it get no image."""

    def write(rows: list[RowDict]) -> Path:
        root = tmp_path / "corpus"
        (root / "manifest").mkdir(parents=True)
        for row in rows:
            if ".." not in row["image"] and not row["image"].startswith("/"):
                target = root / row["image"]
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (8, 8)).save(target)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (root / "manifest" / "all.jsonl").write_text(text, encoding="utf-8")
        return root

    return write


@dataclass(frozen=True)
class Loaded:
    dataset: Dataset
    cpu_seconds: float


@pytest.fixture(scope="session")
def omnimedvqa_full(shared_data: Path) -> Loaded:
    """All of Med-R1's modality files, read once for all tests."""
    started = time.process_time()
    dataset = load(shared_data / "omnimedvqa_full")
    return Loaded(dataset, time.process_time() - started)
