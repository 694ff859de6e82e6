"""A command line without a real model: `cli` calls it in this process, `fake_model` stands in for every model."""

from pathlib import Path

import numpy as np
import pytest
from cli_fakes import LEVELS, Cli, FakeModel, Ran, shade
from PIL import Image

from medproof.cli import invoke
from medproof.datasets import write_items


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Run one command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Ran:
        capsys.readouterr()
        code = invoke([str(word) for word in words])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def fake_model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """Every model name loads this one."""
    model = FakeModel()
    monkeypatch.setattr("medproof.models.load", lambda *_, **__: model)
    return model


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a model fails the test."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a model was loaded")

    monkeypatch.setattr("medproof.models.load", refuse)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An Items JSONL with 12 test and 8 training questions, and its images beside it."""
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    items = [shade(number) for number in range(20)]
    for number, item in enumerate(items):
        pixels = np.full((60, 50, 3), LEVELS[number % 4], np.uint8)
        pixels[::7, :: number + 2] += 20
        Image.fromarray(pixels).save(root / item.image)
    write_items(root / "items.jsonl", items)
    return root / "items.jsonl"
