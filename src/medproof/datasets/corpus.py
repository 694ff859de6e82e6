"""Annotated corpora: a folder with images/, masks/ and manifest/*.jsonl, one JSON row per image."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from medproof.datasets.paths import inside
from medproof.datasets.quarantine import Quarantined, explain
from medproof.errors import UserError
from medproof.records import Box, LicenseClass, Split


class Row(BaseModel):
    """One annotated image. Fields a builder does not use are ignored, so newer manifests still load."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(min_length=1)
    image: str = Field(min_length=1)
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    modality: str = Field(min_length=1)
    anatomy: str | None = None
    label: str | None = None
    split: Split
    patient: str | None = None
    source: str = ""
    license: str = ""
    license_class: LicenseClass = "unstated"
    frame: int | None = Field(default=None, ge=0)
    grade: int | None = None
    laterality: str | None = None
    view: str | None = None
    sequence: str | None = None
    contrast: bool | None = None
    diabetic_macular_edema: bool | None = None
    counts: Mapping[str, int] | None = None
    mask: str | None = None
    lesion_mask: str | None = None
    mask_classes: Mapping[str, str] = Field(default_factory=dict)
    boxes: tuple[Box, ...] = ()

    @property
    def repository(self) -> str:
        """The part of `source` before the colon."""
        return self.source.partition(":")[0]


def is_corpus(path: Path) -> bool:
    """Whether `path` is a folder with a manifest."""
    return (path / "manifest").is_dir()


def read_corpus(root: Path, images_root: Path | None = None) -> tuple[list[Row], list[Quarantined]]:
    """All rows of `root/manifest/*.jsonl`, sorted by id, and the lines set aside with their reasons.

    images_root: folder that image and mask paths are relative to, where that is not `root`.
    A line is set aside when it is not JSON, not a valid row, repeats an id, or names an image that is not there.
    Raises UserError where the manifest is missing or holds no usable row, or a path leaves the folder.
    """
    files = sorted((root / "manifest").glob("*.jsonl"))
    if not files:
        raise UserError(f"{root} has no manifest/*.jsonl: give a folder with images/ and manifest/, or a JSON file")
    rows: dict[str, Row] = {}
    quarantined: list[Quarantined] = []
    for file in files:
        for number, line in _lines(file):
            where = f"{file.name}:{number}"
            try:
                row = _read_row(images_root or root, line)
                if row.id in rows:
                    raise ValueError(f"id {row.id!r} occurs twice")
                rows[row.id] = row
            except ValueError as error:
                quarantined.append(Quarantined(where, explain(error)))
    if not rows:
        reason = f": the first of {len(quarantined)} bad rows: {quarantined[0].reason}" if quarantined else ""
        raise UserError(f"the manifest of {root} holds no usable row{reason}; add rows to manifest/*.jsonl")
    return [rows[key] for key in sorted(rows)], quarantined


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not blank. A byte that is no UTF-8 spoils its own line only."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}; check the file") from error
    return ((i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip())


def _read_row(root: Path, line: str) -> Row:
    data = json.loads(line)
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")
    row = Row.model_validate(data)
    for relative in (row.image, row.mask, row.lesion_mask):
        if relative is not None and not inside(root, relative).is_file():
            raise ValueError(f"file {relative!r} is not there")
    return row
