"""A corpus made on the spot: grey images with bright rectangles whose place, size and label are known."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RowDict = dict[str, Any]
SIDE = 64


def lesion(
    number: int, box: tuple[int, int, int, int] | None, **changes: Any
) -> tuple[RowDict, np.ndarray, np.ndarray]:
    """Row, image and mask of an ultrasound picture with one rectangle (x0, y0, x1, y1), or none."""
    image = np.random.default_rng(number).integers(40, 80, (SIDE, SIDE)).astype(np.uint8)
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    name = f"us-{number:03d}"
    row: RowDict = {
        "id": name,
        "image": f"images/{name}.png",
        "width": SIDE,
        "height": SIDE,
        "modality": "Ultrasound",
        "anatomy": "breast",
        "label": "normal breast tissue" if box is None else "benign breast lesion",
        "split": "test" if number % 2 else "train",
        "patient": f"P{number}",
        "source": "planted/corpus:file.png",
        "license_class": "permissive",
    }
    if box is not None:
        x0, y0, x1, y1 = box
        mask[y0:y1, x0:x1] = 255
        image[y0:y1, x0:x1] += 120
        row |= {"mask": f"masks/{name}.png", "boxes": [{"label": "lesion", "xyxy": list(box)}]}
    return row | changes, image, mask


BOXES = ((8, 8, 24, 20), (40, 8, 60, 18), (6, 40, 26, 60), (40, 40, 56, 56))
"""In the four quarters: 192, 200, 400 and 256 of 4096 pixels."""


def planted(n: int = 32) -> list[tuple[RowDict, np.ndarray, np.ndarray]]:
    """Every other pair of images holds a lesion; benign and malignant take turns."""
    rows = []
    for number in range(n):
        box = BOXES[(number // 4) % 4] if number % 4 < 2 else None
        row, image, mask = lesion(number, box)
        if box is not None and (number // 16) % 2:
            row["label"] = "malignant breast lesion"
        rows.append((row, image, mask))
    return rows


def write(root: Path, rows: Iterable[tuple[Mapping[str, Any], np.ndarray, np.ndarray]]) -> Path:
    """A corpus folder: images/, masks/, manifest/all.jsonl."""
    lines = []
    for row, image, mask in rows:
        for path, pixels in ((row["image"], image), (row.get("mask"), mask)):
            if path is not None:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / path)
        lines.append(json.dumps(row) + "\n")
    (root / "manifest").mkdir(parents=True, exist_ok=True)
    (root / "manifest" / "all.jsonl").write_text("".join(lines), encoding="utf-8")
    return root
