"""Annotated corpora as rows: JSON lines, and COCO detection files. A row that is wrong ends the build."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from medproof.bench.orientation import Convention
from medproof.bench.spec import BenchSpec
from medproof.datasets.corpus import Row
from medproof.datasets.paths import inside
from medproof.datasets.quarantine import explain
from medproof.errors import UserError


class BenchRow(Row):
    """A row of `datasets.corpus`, with what only the benchmark reads; sizes and split may be left out."""

    width: int = Field(default=0, ge=0)
    height: int = Field(default=0, ge=0)
    split: Any = None
    window: str | None = None
    where: str = ""
    findings: tuple[str, ...] = ()
    location: str | None = None
    spacing_mm: float | None = Field(default=None, gt=0)
    orientation: Convention | None = None
    attributes: Mapping[str, Any] = Field(default_factory=dict)


def read_rows(spec: BenchSpec, root: Path) -> list[BenchRow]:
    """All rows, sorted by id, of the wanted licence classes. Raises UserError at the first row that is wrong."""
    files = sorted(root.glob(spec.annotations))
    if not files:
        raise UserError(f"{root} has no {spec.annotations}: name the annotation files in bench.yaml")
    rows: dict[str, BenchRow] = {}
    for file in files:
        source = _coco(file) if spec.form == "coco" else _lines(file)
        for where, fields in source:
            row = _row({**spec.defaults, **fields}, where)
            if row.id in rows:
                raise UserError(f"{where}: id {row.id!r} occurs twice; give every image its own")
            for path in (row.image, row.mask, row.lesion_mask):
                if path is not None and not inside(root, path).is_file():
                    raise UserError(f"{where}: file {path!r} is not in {root}; correct the path")
            if spec.license_classes is None or row.license_class in spec.license_classes:
                rows[row.id] = row
    if not rows:
        raise UserError(f"{root} holds no row of the wanted licence classes; give others in bench.yaml")
    return [rows[key] for key in sorted(rows)]


def _row(fields: Mapping[str, Any], where: str) -> BenchRow:
    if fields.get("split") not in ("train", "test", None):
        raise UserError(f"{where}: split {fields['split']!r} is neither train nor test; correct it or leave it out")
    try:
        return BenchRow.model_validate({**fields, "where": where})
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error)}; correct the row") from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {error}; check the file") from error


def _lines(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(_text(file).split("\n"), 1):
        if line.strip():
            where = f"{file.name}:{number}"
            yield where, _mapping(line, where)


def _mapping(text: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where} is not JSON: {error}; correct it") from error
    if not isinstance(found, dict):
        raise UserError(f"{where} is no JSON object; correct it")
    return found


def _coco(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Images with their boxes [x, y, width, height]; other fields of an image are taken as fields of its row."""
    content = _mapping(_text(file), file.name)
    try:
        names = {category["id"]: category["name"] for category in content["categories"]}
        boxes: dict[Any, list[dict[str, Any]]] = {}
        for annotation in content["annotations"]:
            x, y, width, height = annotation["bbox"]
            box = {"label": names[annotation["category_id"]], "xyxy": [x, y, x + width, y + height]}
            boxes.setdefault(annotation["image_id"], []).append(box)
        for image in content["images"]:
            known = {"id": str(image["id"]), "image": image["file_name"], "boxes": boxes.get(image["id"], [])}
            yield f"{file.name}: image {image['id']}", {**image, **known}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{file.name} is no COCO detection file ({error!r}); give images, annotations, categories"
        ) from error
