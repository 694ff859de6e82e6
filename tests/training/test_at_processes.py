"""Adversarial training in two processes, plain (DDP) and with sharded weights (FSDP2), takes the steps of one."""

from pathlib import Path

import pytest
from grpo_runs import assert_same_weights, changed, rows
from test_grpo_processes import SCRIPT, SHARDED, assert_same_step, launch

from medproof.training import grpo, sft
from medproof.training.grpo_recipe import GrpoRecipe
from medproof.training.recipe import Recipe

pytestmark = pytest.mark.slow

ATTACK = {"eps": "8/255", "steps": 2, "start": "warm", "share": 0.7, "trades": 0.5}
DATA = {"modalities": ["CT"], "fresh_options": False}


@pytest.fixture
def busy(grpo_recipe: GrpoRecipe) -> GrpoRecipe:
    """Warm starts that come from the other process, clean and attacked groups, a TRADES term, a watched attack."""
    recipe = changed(
        grpo_recipe,
        data=DATA,
        optim={"batch_size": 8, "accumulation": 2, "steps": 4, "lr": 1e-4},
        grpo={"beta": 0.1},
        watch={"every": 2, "items": 3, "attack": {"steps": 2}},
    )
    return GrpoRecipe.model_validate(recipe.model_dump(mode="json") | {"adversarial": ATTACK})


@pytest.mark.parametrize("script", [SCRIPT, SHARDED + SCRIPT], ids=["ddp", "fsdp2"])
@pytest.mark.parametrize("objective", ["answer", "policy"])
def test_two_processes_are_one(busy: GrpoRecipe, objective: str, script: str, tmp_path: Path) -> None:
    how = ATTACK | {"objective": objective} | ({"rollout": "clean"} if objective == "policy" else {})
    recipe = GrpoRecipe.model_validate(busy.model_dump(mode="json") | {"adversarial": how})
    launch(script, recipe, tmp_path / "two", 4)
    grpo.train(recipe, tmp_path / "one", device="cpu")
    assert_same_step(tmp_path / "one", tmp_path / "two")
    assert rows(tmp_path / "one")[-1]["adv/delta_linf"] == pytest.approx(8)


@pytest.mark.parametrize("script", [SCRIPT, SHARDED + SCRIPT], ids=["ddp", "fsdp2"])
def test_two_plus_resume_plus_two_is_four(busy: GrpoRecipe, script: str, tmp_path: Path) -> None:
    launch(script, busy, tmp_path / "whole", 4)
    launch(script, busy, tmp_path / "halves", 2)
    launch(script, busy, tmp_path / "halves", 4)
    assert_same_weights(tmp_path / "whole" / "model", tmp_path / "halves" / "model")
    assert rows(tmp_path / "whole") == rows(tmp_path / "halves")


@pytest.mark.parametrize("script", [SCRIPT, SHARDED + SCRIPT], ids=["ddp", "fsdp2"])
def test_sft_in_two_processes_is_one(recipe: Recipe, tiny_model: Path, script: str, tmp_path: Path) -> None:
    content = recipe.model_dump(mode="json") | {"adversarial": ATTACK, "model": {"init": str(tiny_model)}}
    content["data"] |= DATA
    content["optim"] |= {"steps": 3, "lr": 1e-4}
    own = Recipe.model_validate(content)
    launch(script, own, tmp_path / "two", 3)
    sft.train(own, tmp_path / "one", device="cpu")
    assert_same_step(tmp_path / "one", tmp_path / "two")
