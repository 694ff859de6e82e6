"""scripts/ablate.py: the grid it makes, what it leaves out, what it still has to do, and its table."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from load_module import load_module
from medproof.training.grpo_recipe import GrpoRecipe
from medproof.training.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "safemed_r1" / "nano_at_grpo_direct.yaml"
ATTACK = "pgd(linf,6/255,20)"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_module("scripts/ablate.py")


@pytest.fixture
def ran(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands; each leaves behind what the real one would."""
    commands: list[list[str]] = []
    monkeypatch.syspath_prepend(ROOT / "tests" / "report")

    def run(command: list[str], check: bool) -> Any:
        commands.append(command[3:])
        _leave_behind(command[3:])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(script.subprocess, "run", run)
    return commands


def _leave_behind(words: list[str]) -> None:
    from report_runs import make_run

    out = Path(words[words.index("--out") + 1])
    if words[0] == "run":
        conditions = tuple(words[i + 1] for i, word in enumerate(words) if word == "--condition")
        make_run(out, conditions=conditions, n=8, nasty=False, size=28)
        return
    recipe = load_recipe(Path(words[1]), words[2 : words.index("--out")])
    (out / "model").mkdir(parents=True)
    (out / "model" / "training.json").write_text(json.dumps({"recipe": recipe.model_dump(mode="json")}))
    attack = {"time/attack_share": 0.4} if recipe.adversarial is not None else {}
    rows = [{"step": step, "step_time": seconds} | attack for step, seconds in ((1, 9.0), (2, 0.5), (3, 0.7))]
    (out / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def call(script: ModuleType, monkeypatch: pytest.MonkeyPatch, out: Path, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["ablate.py", str(RECIPE), "--out", str(out), *words])
    return int(script.main())


def overrides_of(command: list[str]) -> GrpoRecipe:
    recipe = load_recipe(RECIPE, command[2 : command.index("--out")])
    assert isinstance(recipe, GrpoRecipe)
    return recipe


def test_the_grid_is_trained_and_asked_once(
    script: ModuleType, ran: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ["--objective", "answer", "--objective", "policy", "--conditioning", "both", "--conditioning", "loss"]
    words += ["--clean-share", "0.25", "--limit", "8", "seed=3"]
    assert call(script, monkeypatch, tmp_path, *words) == 0
    trained = [overrides_of(command) for command in ran if command[0] == "train"]
    found = [
        (a.objective, a.rollout, a.policy, a.share) if (a := recipe.adversarial) is not None else None
        for recipe in trained
    ]
    assert found == [
        None,
        ("answer", "attacked", "attacked", 0.75),
        ("answer", "clean", "attacked", 0.75),
        ("policy", "clean", "attacked", 0.75),
    ]
    assert all(recipe.seed == 3 for recipe in trained)
    asked = [command for command in ran if command[0] == "run"]
    assert next(c[c.index("--model") + 1] for c in asked) == "nano"
    assert all(
        [c[i + 1] for i, word in enumerate(c) if word == "--condition"] == ["clean", "blank", ATTACK] for c in asked
    )
    assert all(c[c.index("--limit") + 1] == "8" for c in asked)
    table = json.loads((tmp_path / "ablation.json").read_text(encoding="utf-8"))
    (refused,) = table["refused"]
    assert refused.startswith("policy-both-clean0.25: ")
    names = ["start", "plain", "answer-both-clean0.25", "answer-loss-clean0.25", "policy-loss-clean0.25"]
    assert [row["cell"] for row in table["rows"]] == names
    assert [row["seconds_per_step"] for row in table["rows"]] == [None, *[0.7] * 4]
    assert all(row["RA*"] <= row["RA"] <= row["clean"] for row in table["rows"])
    before = len(ran)
    assert call(script, monkeypatch, tmp_path, *words) == 0
    assert len(ran) == before, "finished cells are not run again"


def test_the_markdown_is_one_row_per_cell(
    script: ModuleType, ran: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ["--objective", "answer", "--conditioning", "both", "--clean-share", "0"]
    assert call(script, monkeypatch, tmp_path, *words) == 0
    lines = (tmp_path / "ablation.md").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith(f"`{ATTACK}`, n = 8")
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert table[0] == ["", "clean", "blank", "RA", "RA*", "kept", "steps", "s/step", "of it attack"]
    assert [row[0] for row in table[2:]] == ["start", "plain", "answer-both-clean0"]
    assert [row[-3:] for row in table[2:]] == [["0", "–", "–"], ["3", "0.70", "–"], ["3", "0.70", "40 %"]]
    assert ran


def test_a_recipe_without_an_attack_is_refused(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(script, monkeypatch, tmp_path, "adversarial=null") == 2
    assert "is no AT-GRPO recipe" in capsys.readouterr().err


def test_it_stops_at_the_first_failure(script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(script.subprocess, "run", lambda command, check: subprocess.CompletedProcess(command, 130))
    assert call(script, monkeypatch, tmp_path, "--objective", "answer") == 130
    assert not (tmp_path / "ablation.json").exists()
