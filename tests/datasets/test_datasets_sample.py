import json
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from load_module import load_module
from medproof.datasets import load
from medproof.datasets.load import SAMPLE

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_sample.py"


@pytest.fixture(scope="module")
def make_sample() -> ModuleType:
    return load_module("scripts/make_sample.py")


def sample_rows() -> list[dict[str, object]]:
    texts = [path.read_text(encoding="utf-8") for path in sorted((SAMPLE / "manifest").glob("*.jsonl"))]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_at_most_eight_megabytes() -> None:
    assert sum(map(len, files(SAMPLE).values())) <= 8_000_000


def test_permissive_rows_only_and_none_share_alike_or_noncommercial() -> None:
    rows = sample_rows()
    assert len(rows) > 900
    assert {row["license_class"] for row in rows} == {"permissive"}
    assert not [row for row in rows if "-SA" in str(row["license"]).split("(")[0] or "NC" in str(row["license"])]


def test_every_source_is_attributed() -> None:
    text = (SAMPLE / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for repository in {str(row["source"]).partition(":")[0] for row in sample_rows()}:
        assert repository in text, repository
    assert "Not for clinical use" in text
    assert "should confirm" in text


def test_no_file_without_a_row_and_none_missing() -> None:
    named = {str(row[key]) for row in sample_rows() for key in ("image", "mask", "lesion_mask") if row.get(key)}
    stored = {name for name in files(SAMPLE) if name.startswith(("images/", "masks/"))}
    assert named == stored


def test_it_loads_without_loss_in_both_splits() -> None:
    dataset = load("sample")
    assert dataset.quarantined == ()
    assert {item.split for item in dataset.items} == {"train", "test"}
    assert len({item.modality for item in dataset.items}) == 6
    assert load("sample").fingerprint == dataset.fingerprint


def test_rows_and_pixels_are_those_of_the_corpus(shared_data: Path) -> None:
    originals = {}
    for path in (shared_data / "manifest").glob("*.jsonl"):
        originals |= {row["id"]: row for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
    for row in sample_rows():
        assert row == originals[row["id"]]
        for key in ("image", "mask", "lesion_mask"):
            if name := row.get(key):
                ours, theirs = SAMPLE / str(name), shared_data / str(name)
                if ours.suffix == ".jpg":
                    assert ours.read_bytes() == theirs.read_bytes()
                else:
                    with Image.open(ours) as a, Image.open(theirs) as b:
                        assert np.array_equal(np.asarray(a.convert(b.mode)), np.asarray(b)), name


def test_packing_again_gives_the_same_bytes(make_sample: ModuleType, tmp_path: Path) -> None:
    shutil.copy(SAMPLE / "ATTRIBUTION.md", tmp_path)
    make_sample.main(SAMPLE, tmp_path)
    assert files(tmp_path) == files(SAMPLE)


def test_a_smaller_limit_leaves_out_train_rows_of_the_named_sources(
    make_sample: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(SAMPLE / "ATTRIBUTION.md", tmp_path)
    monkeypatch.setattr(make_sample, "LIMIT", 7_900_000)
    make_sample.main(SAMPLE, tmp_path)
    assert sum(map(len, files(tmp_path).values())) <= 7_900_000
    left = {line for p in (tmp_path / "manifest").glob("*.jsonl") for line in p.read_text().splitlines()}
    gone = [row for row in sample_rows() if make_sample.line(row).strip() not in left]
    assert gone
    assert {row["split"] for row in gone} == {"train"}
    assert all(str(row["source"]).startswith(make_sample.THIN) for row in gone)
