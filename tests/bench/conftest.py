"""Planted corpora for the benchmark builder."""

from pathlib import Path

import pytest

from medproof.bench import Built, build
from planted_corpus import planted, write


@pytest.fixture(scope="session")
def planted_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planted corpus on disk; read only."""
    return write(tmp_path_factory.mktemp("planted"), planted())


@pytest.fixture(scope="session")
def planted_out(planted_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Built]:
    """The benchmark of the planted corpus, built once."""
    out = tmp_path_factory.mktemp("bench") / "out"
    return out, build(str(planted_root), out)
