"""Manifest rows for tests."""

from typing import Any

RowDict = dict[str, Any]


def make_row(number: int, **changes: Any) -> RowDict:
    """A valid manifest row; `changes` replace fields, None included."""
    modality = ("CT", "MRI", "X-Ray", "Ultrasound")[number % 4]
    row: RowDict = {
        "id": f"img-{number:03d}",
        "image": f"images/img-{number:03d}.png",
        "width": 8,
        "height": 8,
        "modality": modality,
        "anatomy": {"CT": "abdomen", "MRI": "brain", "X-Ray": "chest", "Ultrasound": "breast"}[modality],
        "label": "no diagnosis given",
        "split": "train" if number % 3 else "test",
        "patient": f"P{number}",
        "source": "someone/somewhere:path.png",
        "license": "CC0",
        "license_class": "permissive",
    }
    return row | changes
