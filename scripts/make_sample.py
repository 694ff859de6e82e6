"""Pack the built-in sample from an annotated corpus: permissive rows only, at most 8,000,000 bytes.

    python scripts/make_sample.py CORPUS [OUT]

CORPUS holds images/, masks/ and manifest/*.jsonl; OUT is src/medproof/datasets/sample by default. JPEGs are copied byte
for byte. PNGs are copied or losslessly re-encoded, whichever is smaller; 0/255 masks become 1-bit PNGs, which decode to
the same. Where everything does not fit, train rows of the sources in THIN are left out, in an order fixed by a hash of
the row id. Same corpus, same bytes.
"""

import hashlib
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

LIMIT = 8_000_000
DEFAULT_OUT = Path(__file__).resolve().parents[1] / "src" / "medproof" / "datasets" / "sample"

THIN = ("periclesanfe/Pulmoseg", "TongxinWang0405/BMI702_project")
"""Sources to thin, in turn: the nodule patches are many and alike, this copy of BUSI has lost its aspect ratio."""

Row = dict[str, Any]


def main(corpus: Path, out: Path) -> None:
    rows = permissive_rows(corpus)
    files = {row["id"]: packed_files(corpus, row) for row in rows}
    attribution = out / "ATTRIBUTION.md"
    budget = LIMIT - attribution.stat().st_size
    dropped = thin(rows, files, budget)
    rows = [row for row in rows if row["id"] not in dropped]
    for folder in ("images", "masks", "manifest"):
        shutil.rmtree(out / folder, ignore_errors=True)
    for row in rows:
        for relative, data in files[row["id"]].items():
            (out / relative).parent.mkdir(parents=True, exist_ok=True)
            (out / relative).write_bytes(data)
    for name in sorted({manifest_name(row) for row in rows}):
        target = out / "manifest" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(line(row) for row in rows if manifest_name(row) == name), encoding="utf-8")
    total = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    assert total <= LIMIT, f"{total} bytes"
    print(f"{len(rows)} rows, {len(dropped)} train rows left out, {total:,} bytes of {LIMIT:,}")


def permissive_rows(corpus: Path) -> list[Row]:
    rows: list[Row] = []
    for manifest in sorted((corpus / "manifest").glob("*.jsonl")):
        rows += [json.loads(text) for text in manifest.read_text(encoding="utf-8").splitlines() if text.strip()]
    # the corpus classes one CC BY-SA image as permissive; share-alike is not, so it stays out
    kept = [row for row in rows if row["license_class"] == "permissive" and "-SA" not in row["license"].split("(")[0]]
    return sorted(kept, key=lambda row: str(row["id"]))


def manifest_name(row: Row) -> str:
    return f"{row['id'].rpartition('-')[0]}.jsonl"


def line(row: Row) -> str:
    return json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"


def packed_files(corpus: Path, row: Row) -> dict[str, bytes]:
    """Relative path -> bytes to store, for the image and the masks of a row."""
    names = [row[key] for key in ("image", "mask", "lesion_mask") if row.get(key)]
    return {name: pack(corpus / name, mask=name != row["image"]) for name in names}


def pack(path: Path, *, mask: bool) -> bytes:
    data = path.read_bytes()
    if path.suffix.lower() != ".png":
        return data
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        versions = [image]
        if mask and set(np.unique(np.asarray(image)).tolist()) <= {0, 255}:
            versions.append(image.convert("1", dither=Image.Dither.NONE))
        return min([data, *(lossless(data, version) for version in versions)], key=len)


def lossless(original: bytes, version: Image.Image) -> bytes:
    """`version` as an optimised PNG, checked to decode to the grey levels or colours of `original`."""
    buffer = io.BytesIO()
    version.save(buffer, "PNG", optimize=True)
    with Image.open(io.BytesIO(original)) as before, Image.open(io.BytesIO(buffer.getvalue())) as after:
        assert np.array_equal(np.asarray(before), np.asarray(after.convert(before.mode))), "not lossless"
    return buffer.getvalue()


def thin(rows: list[Row], files: dict[str, dict[str, bytes]], budget: int) -> set[str]:
    """Ids of train rows to leave out so that files and manifest fit `budget` bytes."""

    def cost(row: Row) -> int:
        return sum(map(len, files[row["id"]].values())) + len(line(row).encode())

    def order(row: Row) -> str:
        return hashlib.sha256(row["id"].encode()).hexdigest()

    queues = [
        sorted((row for row in rows if row["split"] == "train" and row["source"].startswith(source + ":")), key=order)
        for source in THIN
    ]
    total = sum(map(cost, rows))
    dropped: set[str] = set()
    turn = 0
    while total > budget:
        row = queues[turn % len(queues)].pop()
        dropped.add(row["id"])
        total -= cost(row)
        turn += 1
    return dropped


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else DEFAULT_OUT)
