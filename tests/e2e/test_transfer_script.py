"""scripts/transfer.py: what it would run, and that it does so in one line of commands that goes on by itself."""

import argparse
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from load_module import load_module
from medproof.datasets import load
from medproof.training.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "med_r1" / "nano_transfer.yaml"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_module("scripts/transfer.py")


@pytest.fixture
def commands(script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What the script runs on the built-in sample, by modality."""
    ran: list[list[str]] = []

    def run(command: list[str], check: bool) -> Any:
        ran.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(script.subprocess, "run", run)
    words = [str(RECIPE), "--data", "sample", "--by", "modality", "--out", str(tmp_path), "--limit", "7", "seed=3"]
    monkeypatch.setattr(sys, "argv", ["transfer.py", *words])
    assert script.main() == 0
    assert all(command[:3] == [sys.executable, "-m", "medproof"] for command in ran)
    return [command[3:] for command in ran]


def test_one_training_per_modality_and_one_on_everything(commands: list[list[str]]) -> None:
    trainings = [command for command in commands if command[0] == "train"]
    trained = []
    for _, recipe, *words in trainings:
        overrides = words[: words.index("--out")]
        settings = load_recipe(Path(recipe), overrides)
        assert (settings.data.train, settings.seed, settings.model.init) == ("sample", 3, "runs/nano_early/model")
        trained.append(settings.data.modalities)
    modalities = sorted({item.modality for item in load("sample", split="train").items})
    assert trained == [None, *((modality,) for modality in modalities)]


def test_every_model_and_the_first_one_are_asked_clean_and_blank(commands: list[list[str]], tmp_path: Path) -> None:
    made = {str(Path(c[c.index("--out") + 1]) / "model") for c in commands if c[0] == "train"}
    runs = [c for c in commands if c[0] == "run"]
    assert {c[c.index("--model") + 1] for c in runs} == made | {"runs/nano_early/model"}
    for c in runs:
        assert [c[i + 1] for i, word in enumerate(c) if word == "--condition"] == ["clean", "blank"]
        assert c[c.index("--split") + 1] == "test"
        assert c[c.index("--limit") + 1] == "7"
    report = commands[-1]
    assert report[0] == "report"
    assert report[1:-2] == [c[c.index("--out") + 1] for c in runs]
    assert report[-2:] == ["--out", str(tmp_path)]


def test_only_what_the_recipe_keeps_is_trained_on(script: ModuleType) -> None:
    recipe = load_recipe(RECIPE, ["data.train=sample", "data.modalities=[CT]"])
    trainings = script.plan_trainings(recipe, "sample", ["modality", "question_type"])
    names = [training.name for training in trainings]
    assert names[:2] == ["all", "modality-ct"]
    assert all(name.startswith("question_type-") for name in names[2:])
    assert len(names) > 3


def test_it_stops_at_the_first_failure(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(script.subprocess, "run", lambda command, check: subprocess.CompletedProcess(command, 130))
    args = argparse.Namespace(
        recipe=RECIPE, overrides=[], data="sample", by=["modality"], out=tmp_path, limit=None, device="cpu"
    )
    monkeypatch.setattr(script, "_arguments", lambda: args)
    assert script.main() == 130
    assert capsys.readouterr().out.count("$ medproof") == 1
    args.data = str(tmp_path / "none")
    assert script.main() == 2
    assert "none" in capsys.readouterr().err
