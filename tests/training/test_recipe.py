"""Recipes: overrides, suggestions for misspelt keys, refusals in one line."""

from pathlib import Path

import pytest

from medproof.errors import UserError
from medproof.training.grpo_recipe import GrpoRecipe
from medproof.training.recipe import Recipe, load_recipe

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
LAUNCHERS = sorted((RECIPES / "accelerate").glob("*.yaml"))


GRPO = "kind: grpo\nmodel: {init: nano}"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(set(RECIPES.rglob("*.yaml")) - set(LAUNCHERS)), ids=lambda p: p.name)
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
        ("kind: rlhf", [], "kind 'rlhf' is unknown: use sft or grpo"),
        (GRPO, ["grpo.num_generation=4"], "did you mean 'num_generations'?"),
        (GRPO, ["rewards=[{name: accuracy, wieght: 2}]"], "did you mean 'weight'?"),
        (GRPO, ["watch.evry=4"], "did you mean 'every'?"),
        (GRPO, ["completions.group=4"], "did you mean 'groups'?"),
        (GRPO, ["model.lora.alpha=4"], "did you mean 'lora_alpha'?"),
        (GRPO, ["data.curriculum=[{from_epoc: 4}]"], "did you mean 'from_epoch'?"),
        (GRPO, ["optim.warmup=4"], "did you mean 'warmup_steps'?"),
        (GRPO, ["checkpoint.keep_lst=4"], "did you mean 'keep_last'?"),
        (GRPO, ["grpo.num_generations=1"], "a group of 1 has no advantage to learn from: use 2 or more"),
        (GRPO, ["model.init=fresh-nano"], "random weights earn no reward"),
        (GRPO, ["rewards=[]"], "name at least one reward"),
        (GRPO, ["rewards=[format, {name: format, weight: 2}]"], "a reward is named twice"),
        (GRPO, ["checkpoint.keep_best=eval/accuracy"], "needs watch.every"),
        ("kind: grpo", [], "model: Field required"),
        ("- a\n- b", [], "not a mapping"),
        ("a: [", [], "not valid YAML"),
    ],
)
def test_bad_recipes_are_one_line(tmp_path: Path, text: str, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(write(tmp_path, text), overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_grpo_recipes_have_trl_names_and_short_rewards(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GRPO), ["rewards=[accuracy, {name: own.py:f, weight: 0.5, args: {a: 1}}]"])
    assert isinstance(recipe, GrpoRecipe)
    assert [(r.name, r.weight, r.args) for r in recipe.rewards] == [("accuracy", 1.0, {}), ("own.py:f", 0.5, {"a": 1})]
    assert recipe.grpo.model_dump().keys() >= {"num_generations", "max_completion_length", "beta", "epsilon_high"}


def test_missing_recipe_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="recipes/"):
        load_recipe(tmp_path / "none.yaml")


def test_yaml_tags_that_build_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not valid YAML"):
        load_recipe(write(tmp_path, "name: !!python/object/apply:os.system ['true']"))


def test_recipes_are_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe().seed = 1  # type: ignore[misc]
