"""Models by name: nano, and a second one wherever its folder is."""

import json
import shutil
from pathlib import Path

import pytest

from medproof import models
from medproof.errors import UserError
from medproof.evaluation.provenance import training
from medproof.models import builtin
from medproof.models.loading import load_processor


@pytest.fixture
def with_robust(random_nano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose nano-robust is a nano with random weights; returns its folder."""
    folder = tmp_path / builtin.CHECKPOINTS["nano-robust"]
    shutil.copytree(random_nano, folder)
    monkeypatch.setattr(builtin, "root", lambda: tmp_path)
    return folder


def test_it_loads_by_name_as_by_folder(with_robust: Path) -> None:
    named, plain = models.load("nano-robust", device="cpu"), models.load(str(with_robust), device="cpu")
    assert (named.name, plain.name) == ("nano-robust", str(with_robust))
    assert named.weights_hash == plain.weights_hash
    assert named.grid == plain.grid
    assert load_processor("nano-robust")[1] == named.grid


def test_its_training_is_told_as_of_any_trained_folder(with_robust: Path) -> None:
    assert training("nano-robust") is None
    (with_robust / "training.json").write_text(json.dumps({"kind": "grpo"}))
    assert training("nano-robust") == {"kind": "grpo"}


def test_an_installation_without_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(builtin, "root", lambda: tmp_path)
    with pytest.raises(UserError, match=r"nano-robust is not in this installation: .*use nano"):
        models.load("nano-robust", device="cpu")


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="give nano, nano-robust, nano-noise, a folder"):
        models.load("nano-rebust", device="cpu")
