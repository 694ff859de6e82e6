"""Recipes: overrides, suggestions for misspelt keys, refusals in one line."""

from pathlib import Path

import pytest

from medproof.errors import UserError
from medproof.training.recipe import Recipe, load_recipe

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.yaml")), ids=lambda p: p.name)
def test_every_recipe_of_the_project_is_valid(path: Path) -> None:
    assert load_recipe(path).name


def test_overrides_are_read_as_yaml(tmp_path: Path) -> None:
    path = write(tmp_path, "kind: sft\noptim: {steps: 10}\n")
    recipe = load_recipe(path, ["optim.steps=20", "data.modes={think: 1}", "model.lora.r=4", "seed=5"])
    assert (recipe.optim.steps, recipe.seed) == (20, 5)
    assert recipe.data.modes == {"think": 1.0}
    assert recipe.model.lora is not None
    assert recipe.model.lora.r == 4


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("optim: {stepz: 3}", [], "unknown key 'optim.stepz': did you mean 'steps'?"),
        ("kind: sft", ["anser_weight=2"], "did you mean 'answer_weight'?"),
        ("kind: sft", ["data.augment.crap=0.1"], "did you mean 'crop'?"),
        ("kind: sft", ["model.lora.rr=4"], "did you mean 'r'?"),
        ("optim: {lr: -1}", [], "optim.lr: Input should be greater than 0"),
        ("data: {modes: {direct: 0}}", [], "at least one positive weight"),
        ("optim: {batch_size: 10, accumulation: 4}", [], "multiple of optim.accumulation"),
        ("kind: sft", ["steps"], "not of the form key=value"),
        ("kind: sft", ["seed=1", "seed.deep=1"], "is a value, not a section"),
        ("- a\n- b", [], "not a mapping"),
        ("a: [", [], "not valid YAML"),
    ],
)
def test_bad_recipes_are_one_line(tmp_path: Path, text: str, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(write(tmp_path, text), overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_recipe_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="recipes/"):
        load_recipe(tmp_path / "none.yaml")


def test_yaml_tags_that_build_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not valid YAML"):
        load_recipe(write(tmp_path, "name: !!python/object/apply:os.system ['true']"))


def test_recipes_are_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe().seed = 1  # type: ignore[misc]
