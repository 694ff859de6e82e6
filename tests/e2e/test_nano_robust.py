"""The committed robust nano beside the plain one: it holds, and looks no less."""

from pathlib import Path
from typing import Any

import pytest

from medproof.cli import invoke
from medproof.errors import UserError
from medproof.models.builtin import checkpoint
from medproof.report import build
from medproof.runs.store import read_run
from medproof.scoring.scored import score
from medproof.scoring.stages import stages

ATTACK = "pgd(linf,6/255,10)"
N = 64


def folder() -> Path | None:
    try:
        return checkpoint("nano-robust")
    except UserError:
        return None


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(folder() is None, reason="no nano-robust in this tree: train it by recipes/safemed_r1"),
]


def run(out: Path, model: str) -> Path:
    conditions = [word for name in ("clean", "blank", ATTACK) for word in ("--condition", name)]
    argv = ["run", "--model", model, "--data", "sample", "--limit", str(N), *conditions]
    assert invoke([*argv, "--device", "cpu", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    base = tmp_path_factory.mktemp("robust")
    return [run(base / model, model) for model in ("nano", "nano-robust")]


@pytest.fixture(scope="module")
def rows(runs: list[Path]) -> dict[str, dict[str, Any]]:
    """Rows of the table by model."""
    found = stages([score(read_run(path)) for path in runs])
    assert found is not None
    return {row["model"]: row for row in found["rows"]}


def test_the_checkpoint_is_small_and_safe_and_says_how_it_was_trained(rows: dict[str, dict[str, Any]]) -> None:
    root = folder()
    assert root is not None
    files = [path for path in root.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 16_000_000
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".jinja"}
    assert rows["nano-robust"]["stage"].startswith("AT-")
    assert rows["nano"]["stage"] == "base"


def test_it_holds_where_nano_falls_and_looks_no_less(rows: dict[str, dict[str, Any]]) -> None:
    plain, robust = (rows[model] for model in ("nano", "nano-robust"))
    assert robust["clean"]["accuracy"] - robust["blank"]["accuracy"] >= 0.25
    before, after = (row["cells"][ATTACK] for row in (plain, robust))
    assert after["RA"]["value"] - before["RA"]["value"] >= 0.1
    assert after["kept"]["value"] >= 0.7 > 0.6 > before["kept"]["value"]
    assert after["RA_star"]["value"] >= before["RA_star"]["value"] - 0.05


def test_the_report_has_the_table(runs: list[Path], tmp_path: Path) -> None:
    page, _ = build(runs, tmp_path)
    assert "Training stages under the same attacks" in page.read_text(encoding="utf-8")
