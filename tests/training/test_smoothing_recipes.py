"""Recipes of recipes/smoothing: noise that grows to its sigma; a second stage that begins where the first ends."""

from pathlib import Path

import pytest

from medproof.training.grpo_recipe import GrpoRecipe
from medproof.training.recipe import load_recipe

FOLDER = Path(__file__).resolve().parents[2] / "recipes" / "smoothing"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_named_as_its_file_and_noisy(path: Path) -> None:
    recipe = load_recipe(path, ["adversarial.sigma=0.5"])
    assert recipe.name == path.stem
    assert recipe.adversarial is not None
    assert recipe.adversarial.kind == "noise"
    assert recipe.adversarial.sigma_at(recipe.adversarial.ramp_steps) == 0.5
    assert recipe.adversarial.is_on_at(recipe.adversarial.ramp_steps)


def test_the_second_stage_begins_where_the_first_ends() -> None:
    second = load_recipe(FOLDER / "nano_noise_grpo.yaml", [])
    assert isinstance(second, GrpoRecipe)
    first = load_recipe(FOLDER / f"{Path(second.model.init).parent.name}.yaml", [])
    assert set(second.data.modes) <= set(first.data.modes)
