"""Items as a Hugging Face dataset folder: Parquet with embedded pictures, and a dataset card.

`datasets.load_dataset(FOLDER)` reads it without any code of ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from medproof.interchange.licences import identifiers
from medproof.interchange.source import Source, held_back, may_copy
from medproof.records import Item
from medproof.runs.atomic import disk_errors, write_text

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 512
"""Items per row group: what is held in memory with pictures."""
_TEXT: dict[str, Callable[[Item], str | None]] = {
    "id": lambda item: item.id,
    "question": lambda item: item.question,
    "answer": lambda item: item.answer,
    "stage": lambda item: item.stage,
    "case": lambda item: item.case,
    "patient": lambda item: item.patient,
    "modality": lambda item: item.modality,
    "anatomy": lambda item: item.anatomy,
    "question_type": lambda item: item.question_type,
    "image_path": lambda item: item.image,
    "evidence": lambda item: None if item.evidence is None else item.evidence.to_json(),
    "source": lambda item: item.source,
    "license": lambda item: item.license,
    "license_class": lambda item: item.license_class,
}
COLUMNS: dict[str, str] = {
    "image": "the picture; null where its licence does not allow a copy (image_path names it)",
    "mask": "the mask of the evidence; null where there is none",
    "id": "unique id of the question",
    "question": "the question",
    "options": "its options, in the order in which they are shown",
    "answer_index": "place of the right option, from 0",
    "answer": "text of the right option",
    "stage": "stage of the clinical workflow, S1 to S4; null outside a chain",
    "case": "all questions of one case form one chain",
    "parents": "ids of the questions this one builds on",
    "patient": "pseudonym of the patient, where the source has one",
    "modality": "imaging modality",
    "anatomy": "region of the body",
    "question_type": "kind of question",
    "image_path": "path of the image in the benchmark",
    "evidence": "JSON: labelled boxes (pixel edges of the stored image) and mask that the answer rests on",
    "source": "repository and path that the image comes from",
    "license": "licence of the image",
    "license_class": "permissive, noncommercial, copyleft, research-only or unstated",
}


_SHOWN = "The pictures are those that a model was shown, on its pixel grid; boxes are in pixels of the stored image."


def write_hf(source: Source, out: Path, *, copy_all: bool = False) -> list[Path]:
    """data/SPLIT-00000-of-00001.parquet for each split, and README.md, into the folder `out`. Returns their paths.

    copy_all: embed pictures whose licence class is not permissive too. The same items give the same bytes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    paths, counts = [], {}
    with disk_errors(out):
        (out / "data").mkdir(parents=True, exist_ok=True)
        for split in ("train", "test"):
            items = [item for item in source.items if item.split == split]
            if not items:
                continue
            path = out / "data" / f"{split}-00000-of-00001.parquet"
            with pq.ParquetWriter(path, schema, compression="zstd", dictionary_pagesize_limit=2**28) as writer:
                for start in range(0, len(items), ROWS):
                    rows = [_row(item, source, copy_all) for item in items[start : start + ROWS]]
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            counts[split] = len(items)
            paths.append(path)
    write_text(out / "README.md", dataset_card(source, counts))
    return [*paths, out / "README.md"]


def dataset_card(source: Source, counts: Mapping[str, int]) -> str:
    """README.md: YAML header as the hub reads it, then what is in the folder. counts: items by split."""
    licences = identifiers(source.items)
    files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in counts]
    header = {
        "pretty_name": source.name,
        "license": licences[0] if len(licences) == 1 else licences,
        "task_categories": ["visual-question-answering"],
        "language": ["en"],
        "tags": ["medical", "multiple-choice", "evidence-grounded"],
        "size_categories": [_size(sum(counts.values()))],
        "configs": [{"config_name": "default", "data_files": files}],
    }
    kinds = sorted({item.modality for item in source.items})
    limits = held_back(source.items)
    lines = [
        "---",
        yaml.safe_dump(header, sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        "",
        f"# {source.name}",
        "",
        f"Multiple-choice questions about medical images, each with the evidence its answer rests on: "
        f"{', '.join(f'{count} {split}' for split, count in counts.items())} items of "
        f"{len({item.case for item in source.items})} cases. Modalities: {', '.join(kinds)}. Not for clinical use.",
        "",
        "Each image keeps the licence of its source (columns `license`, `license_class`, `source`).",
        *([f"{limits}: look at `license` before use."] if limits else []),
        *([_SHOWN] if source.run is not None else []),
        "",
        "| column | what it holds |",
        "|---|---|",
        *(f"| `{name}` | {meaning} |" for name, meaning in COLUMNS.items()),
    ]
    return "\n".join(lines) + "\n"


def _schema() -> pa.Schema:
    import pyarrow as pa

    text = pa.string()
    picture = pa.struct([("bytes", pa.binary()), ("path", text)])
    special = {
        "image": picture,
        "mask": picture,
        "options": pa.list_(text),
        "parents": pa.list_(text),
        "answer_index": pa.int64(),
    }
    # `datasets` knows columns by this entry; only what Parquet types do not say needs to be there, but all must be.
    plain = {"dtype": "string", "_type": "Value"}
    told: dict[str, Any] = {
        "image": {"_type": "Image"},
        "mask": {"_type": "Image"},
        "answer_index": {**plain, "dtype": "int64"},
    }
    told |= {name: {"feature": plain, "_type": "List"} for name in ("options", "parents")}
    features = {name: told.get(name, plain) for name in COLUMNS}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([pa.field(name, special.get(name, text)) for name in COLUMNS], metadata=metadata)


def _row(item: Item, source: Source, copy_all: bool) -> dict[str, Any]:
    allowed = may_copy(item, copy_all)
    return {
        "image": _picture(source.picture(item) if allowed else None),
        "mask": _picture(source.mask(item) if allowed else None),
        "options": list(item.options),
        "answer_index": item.answer_index,
        "parents": list(item.parents),
        **{name: read(item) for name, read in _TEXT.items()},
    }


def _picture(path: Path | None) -> dict[str, Any] | None:
    return None if path is None else {"bytes": path.read_bytes(), "path": path.name}


def _size(n: int) -> str:
    """The hub's name for the size."""
    bounds: Sequence[tuple[int, str]] = ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
    return next((name for bound, name in bounds if n < bound), "100K<n<1M")
