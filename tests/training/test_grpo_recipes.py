"""The recipes of recipes/med_r1: what their headers say they are."""

import re
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file

from medproof.training.grpo_recipe import GrpoRecipe
from medproof.training.recipe import load_recipe
from medproof.training.rewards import load_reward

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
MED_R1 = sorted((RECIPES / "med_r1").glob("*.yaml"))


def load(name: str) -> GrpoRecipe:
    recipe = load_recipe(RECIPES / "med_r1" / f"{name}.yaml")
    assert isinstance(recipe, GrpoRecipe)
    return recipe


@pytest.mark.parametrize("path", MED_R1, ids=lambda path: path.stem)
def test_named_as_its_file_with_rewards_that_exist(path: Path) -> None:
    recipe = load(path.stem)
    assert recipe.name == path.stem
    for reward in recipe.rewards:
        assert load_reward(reward.name, reward.weight, reward.args).name == reward.name


def test_the_original_setting_is_med_r1s() -> None:
    recipe = load("qwen2_vl_2b_original")
    grpo = recipe.grpo
    assert (grpo.num_generations, grpo.beta, grpo.temperature, recipe.optim.lr) == (4, 0.04, 1.0, 1e-6)
    assert (grpo.loss_type, grpo.scale_rewards, recipe.cycle) == ("grpo", "group", 1)
    assert [(reward.name, reward.weight) for reward in recipe.rewards] == [("accuracy", 1.0), ("format", 1.0)]
    assert recipe.data.modes == {"think": 1.0}


def test_three_modes_each_with_its_recipe() -> None:
    modes = {name: set(load(name).data.modes) for name in ("nano_direct", "nano_think", "nano_think_after")}
    assert modes == {"nano_direct": {"direct"}, "nano_think": {"think"}, "nano_think_after": {"think_after"}}


def test_each_family_has_both_sizes_and_can_be_shared_by_8() -> None:
    for family in ("qwen2_vl_2b", "qwen2_5_vl_3b", "qwen3_vl_2b"):
        lora, full = load(f"{family}_lora_1gpu"), load(f"{family}_full_8gpu")
        assert lora.model.lora is not None
        assert full.model.lora is None
        assert lora.model.init == full.model.init
        assert full.optim.batch_size % (8 * full.optim.accumulation) == 0


@pytest.mark.parametrize("path", [p for p in MED_R1 if "8gpu" in p.stem], ids=lambda path: path.stem)
def test_the_launch_lines_name_files_and_layers_that_exist(path: Path) -> None:
    import transformers

    text = path.read_text(encoding="utf-8")
    for config in re.findall(r"--config_file (\S+)", text):
        assert load_config_from_file(str(RECIPES.parent / config)).num_processes == 8
    (layers,) = re.findall(r"--fsdp_transformer_layer_cls_to_wrap (\S+)", text)
    family = {"2": "qwen2_vl", "2_5": "qwen2_5_vl", "3": "qwen3_vl"}[path.stem.removeprefix("qwen").split("_vl")[0]]
    module = getattr(transformers.models, family)
    for layer in layers.split(","):
        assert hasattr(getattr(module, f"modeling_{family}"), layer)
