"""A benchmark's Croissant metadata (mlcommons.org/croissant/1.0): files with their SHA-256, fields, splits, licences.

Nothing is copied: croissant.json names the files relative to its own folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from medproof import __version__
from medproof.interchange.hf_folder import COLUMNS
from medproof.interchange.licences import pages
from medproof.interchange.source import Source
from medproof.runs.atomic import disk_errors, write_text

Json = dict[str, Any]
NAME = "croissant.json"
CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification prescribes."""
_FORMATS = {
    ".jsonl": "application/jsonlines",
    ".parquet": "application/x-parquet",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".dcm": "application/dicom",
}
_FIELDS = (
    *("id", "image", "case", "patient", "modality", "anatomy", "question_type", "stage", "question", "options"),
    *("answer", "parents", "split", "source", "license", "license_class"),
)
_REPEATED = ("options", "parents")
_MEANING = {**COLUMNS, "image": "path of the image in the benchmark", "split": "train or test"}


def write_card(source: Source, out: Path) -> Path:
    """Write `out`, or croissant.json in the folder `out`. The same source gives the same bytes. Returns the path."""
    path = out if out.suffix == ".json" else out / NAME
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    content = croissant(source, path.parent)
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path


def croissant(source: Source, folder: Path) -> Json:
    """The metadata as JSON-LD. folder: what the files' paths are relative to."""
    splits = sorted({item.split for item in source.items})
    cases = len({item.case for item in source.items})
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": source.name,
        "description": f"{len(source.items)} multiple-choice questions about medical images of {cases} cases, each "
        "with the evidence its answer rests on, built by medproof. Not for clinical use.",
        "license": pages(source.items),
        "keywords": ["medical imaging", "visual question answering", *sorted({i.modality for i in source.items})],
        "version": f"{__version__}",
        "distribution": [
            _file("items", source.file, folder, "The questions, one record per line or row."),
            *(_file(f"image:{name}", path, folder, None) for name, path in _pictures(source)),
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "splits",
                "name": "splits",
                "dataType": "cr:Split",
                "key": {"@id": "splits/name"},
                "field": [{"@type": "cr:Field", "@id": "splits/name", "name": "name", "dataType": "sc:Text"}],
                "data": [{"splits/name": split} for split in splits],
            },
            {
                "@type": "cr:RecordSet",
                "@id": "questions",
                "name": "questions",
                "description": "One record per question.",
                "key": {"@id": "questions/id"},
                "field": [_field(name) for name in _FIELDS],
            },
        ],
    }


def _pictures(source: Source) -> list[tuple[str, Path]]:
    """Every image file and mask once, by its path in the benchmark or run."""
    found = {path for item in source.items for path in (source.picture(item), source.mask(item)) if path is not None}
    root = source.data.root.resolve() if source.data is not None else source.file.parent
    return sorted((path.relative_to(root).as_posix(), path) for path in found)


def _file(name: str, path: Path, folder: Path, about: str | None) -> Json:
    content = path.read_bytes()
    told = {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix(),
        "contentSize": f"{len(content)} B",
        "encodingFormat": _FORMATS.get(path.suffix.lower(), "application/octet-stream"),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return told if about is None else {**told, "description": about}


def _field(name: str) -> Json:
    field: Json = {
        "@type": "cr:Field",
        "@id": f"questions/{name}",
        "name": name,
        "description": _MEANING[name],
        "dataType": "sc:Text",
        "source": {"fileObject": {"@id": "items"}, "extract": {"column": name}},
    }
    if name in _REPEATED:
        field["repeated"] = True
    if name == "split":
        field["references"] = {"field": {"@id": "splits/name"}}
    return field
