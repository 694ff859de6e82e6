"""The recipes of recipes/med_r2: a fair pair, and stages that fit together."""

import re
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file

from medproof.training.grpo_recipe import GrpoRecipe
from medproof.training.recipe import AnyRecipe, Recipe, load_recipe
from medproof.training.rewards import load_reward

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "recipes" / "med_r2"
RECIPES = sorted(FOLDER.glob("*.yaml"))
STEPWISE = [path.stem for path in RECIPES if "stepwise" in path.stem]


def load(name: str) -> AnyRecipe:
    return load_recipe(FOLDER / f"{name}.yaml")


@pytest.mark.parametrize("name", STEPWISE)
def test_stepwise_recipes_learn_chains_and_hear_remarks(name: str) -> None:
    recipe = load(name)
    assert recipe.name == name
    assert recipe.data.rationale == "chain"
    assert "think" in recipe.data.modes
    assert recipe.data.hints.share > 0
    assert set(recipe.data.hints.sources) == {"authority", "peer", "self_doubt"}, "two sources are kept for the test"
    if isinstance(recipe, GrpoRecipe):
        names = [load_reward(reward.name, reward.weight, reward.args).name for reward in recipe.rewards]
        assert names == ["accuracy", "steps", "format"]


def test_plain_and_stepwise_differ_in_targets_and_remarks_alone() -> None:
    plain, stepwise = load("nano_plain_sft").model_dump(), load("nano_stepwise_sft").model_dump()
    for recipe in (plain, stepwise):
        recipe.pop("name")
        for key in ("modes", "rationale", "earlier", "hints"):
            recipe["data"].pop(key)
        recipe["optim"].pop("accumulation")  # how, not what
    assert plain == stepwise


@pytest.mark.parametrize("name", [name for name in STEPWISE if "_grpo" in name])
def test_the_second_stage_begins_where_the_first_ends(name: str) -> None:
    second = load(name)
    first = re.fullmatch(r"runs/(\w+)/model", second.model.init)
    assert first is not None
    warm_up = load(first[1])
    assert isinstance(warm_up, Recipe)
    assert second.data.model_copy(update={"modes": warm_up.data.modes}) == warm_up.data
    assert set(second.data.modes) <= set(warm_up.data.modes)
    assert (second.model.lora is None) == (warm_up.model.lora is None)


@pytest.mark.parametrize("path", [path for path in RECIPES if "8gpu" in path.stem], ids=lambda path: path.stem)
def test_the_launch_lines_name_files_and_layers_that_exist(path: Path) -> None:
    from transformers.models.qwen2_vl import modeling_qwen2_vl

    recipe, text = load(path.stem), path.read_text(encoding="utf-8")
    assert recipe.optim.batch_size % (8 * recipe.optim.accumulation) == 0
    for config in re.findall(r"--config_file (\S+)", text):
        assert load_config_from_file(str(ROOT / config)).num_processes == 8
    (layers,) = re.findall(r"--fsdp_transformer_layer_cls_to_wrap (\S+)", text)
    assert all(hasattr(modeling_qwen2_vl, layer) for layer in layers.split(","))
