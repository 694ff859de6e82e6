"""`medproof train` runs recipes of both kinds."""

from pathlib import Path

import pytest
import yaml
from grpo_runs import changed

from medproof.cli import invoke
from medproof.training.grpo_recipe import GrpoRecipe
from medproof.training.recipe import AnyRecipe, Recipe


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "recipe.yaml"


def save(recipe: AnyRecipe, path: Path) -> None:
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")


def test_dry_run_counts_groups_and_generations(
    grpo_recipe: GrpoRecipe, write: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(changed(grpo_recipe, grpo={"num_iterations": 2, "steps_per_generation": 2}), write)
    assert invoke(["train", str(write), "optim.steps=9", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "9 steps of 4 groups" in said
    assert "every 4 steps 8 groups of 4 completions" in said
    assert "3 such cycles" in said
    assert not Path("runs").exists()


@pytest.mark.parametrize("kind", ["recipe", "grpo_recipe"])
def test_stop_at_leaves_a_checkpoint_and_a_model(
    kind: str, request: pytest.FixtureRequest, write: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe: Recipe | GrpoRecipe = request.getfixturevalue(kind)
    save(recipe, write)
    assert invoke(["train", str(write), "--out", "run", "--stop-at", "1", "--device", "cpu"]) == 0
    assert "trained: run/model" in capsys.readouterr().out
    assert Path("run/model/training.json").is_file()
    assert [path.name for path in Path("run/checkpoints").iterdir()] == ["step-000001"]


def test_a_bad_reward_is_one_line_and_a_usage_error(
    grpo_recipe: GrpoRecipe, write: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(changed(grpo_recipe, rewards=["acuracy"]), write)
    assert invoke(["train", str(write), "--out", "run", "--device", "cpu"]) == 2
    assert "did you mean 'accuracy'?" in capsys.readouterr().err
