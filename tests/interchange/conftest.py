"""A benchmark of grey pictures whose level is the answer, and a run of a baseline on it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medproof.cli import invoke
from medproof.datasets import write_items
from medproof.records import Item

NASTY = '</script><img src=x onerror=alert(1)> & "dark"'
LEVELS = {"black": 10, NASTY: 90, "light": 170}
CONDITIONS = ("clean", "blank", "noimage", "hint(wrong,peer)", "pushback(wrong,peer)", "rotated(1)")


def shades() -> list[Item]:
    """Six cases in each split, two steps each; the last two cases of the test split may not be copied."""
    items = []
    for number in range(12):
        answer = list(LEVELS)[number % 3]
        first = f"case{number:02d}/modality"
        common = {
            "image": f"images/{number:02d}.png",
            "width": 40,
            "height": 30,
            "case": f"case{number:02d}",
            "patient": f"p{number}",
            "modality": "MRI" if number % 2 else "CT",
            "split": "test" if number < 6 else "train",
            "license": "CC BY 4.0 (somewhere)" if number not in (4, 5) else "for research",
            "license_class": "permissive" if number not in (4, 5) else "research-only",
        }
        asked = {"question_type": "Modality Recognition", "stage": "S1", "question": "Which technique?"}
        modality = common["modality"]
        items.append(Item.model_validate(common | asked | {"id": first, "options": ("CT", "MRI"), "answer": modality}))
        asked = {"question_type": "Other Biological Attributes", "stage": "S3", "question": "How <b>bright</b> is it?"}
        shade = {"id": f"case{number:02d}/shade", "options": tuple(LEVELS), "answer": answer, "parents": (first,)}
        items.append(Item.model_validate(common | asked | shade))
    return items


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with items.jsonl and images/."""
    root = tmp_path_factory.mktemp("interchange") / "shades"
    (root / "images").mkdir(parents=True)
    items = shades()
    for number in range(12):
        pixels = np.full((30, 40, 3), LEVELS[items[2 * number + 1].answer], np.uint8)
        pixels[:, number] += 40
        Image.fromarray(pixels).save(root / "images" / f"{number:02d}.png")
    write_items(root / "items.jsonl", items)
    return root


@pytest.fixture(scope="session")
def run(bench: Path) -> Path:
    """Folder of `medproof run --model majority`."""
    out = bench.parent / "run"
    words = [word for condition in CONDITIONS for word in ("--condition", condition)]
    assert invoke(["run", "--model", "majority", "--data", str(bench / "items.jsonl"), *words, "--out", str(out)]) == 0
    return out
