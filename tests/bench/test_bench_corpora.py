"""The built-in benchmark, and the larger corpus beside the checkout."""

from pathlib import Path

import pytest

from medproof.bench import Built, build
from medproof.bench.catalog import task_table

DOCS = Path(__file__).resolve().parents[2] / "docs"


def check(built: Built) -> None:
    assert built.misses == ()
    assert built.card["oracle"]["accuracy"] == 1
    for row in built.card["tasks"]:
        assert row["test"] >= 4
        if row["text_prior"] is not None:
            assert row["text_prior"] <= row["test_chance"] + 0.05
    assert built.card["blind_gate"]["largest_excess"] <= 0.05
    words = {option for item in built.bench.items for option in item.options}
    assert not any("adenocarcinoma" in word for word in words)


@pytest.mark.slow
def test_sample(tmp_path: Path) -> None:
    built = build("sample", tmp_path / "out")
    check(built)
    assert {item.license_class for item in built.bench.items} == {"permissive"}
    assert len(built.card["tasks"]) >= 20
    assert {row["stage"] for row in built.card["tasks"]} == {"S1", "S2", "S3", "S4"}


@pytest.mark.slow
def test_all_modalities(shared_data: Path, tmp_path: Path) -> None:
    built = build(str(shared_data), tmp_path / "out")
    check(built)
    assert len(built.card["tasks"]) >= 31
    assert len({item.modality for item in built.bench.items}) == 8
    assert built.card["items"]["test"] >= 2500


def test_the_table_in_the_docs_is_that_of_the_code() -> None:
    assert task_table() in (DOCS / "bench.md").read_text(encoding="utf-8")
