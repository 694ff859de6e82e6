"""The recipes of recipes/safemed_r1: two stages in every size, and overrides that are what their comments say."""

import re
from fractions import Fraction
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file

from medproof.training.grpo_recipe import GrpoRecipe
from medproof.training.recipe import AnyRecipe, Recipe, load_recipe
from medproof.training.rewards import load_reward

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "recipes" / "safemed_r1"
RECIPES = sorted(FOLDER.glob("*.yaml"))
ABLATIONS = [
    line.removeprefix("#   ").split(" adversarial")
    for line in (FOLDER / "nano_at_grpo_direct.yaml").read_text(encoding="utf-8").splitlines()
    if line.startswith("#   adversarial")
]


def load(name: str, *overrides: str) -> AnyRecipe:
    return load_recipe(FOLDER / f"{name}.yaml", list(overrides))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_named_as_its_file_and_adversarial(path: Path) -> None:
    recipe = load(path.stem)
    assert recipe.name == path.stem
    assert recipe.adversarial is not None
    assert recipe.adversarial.is_on_at(recipe.adversarial.ramp_steps)
    assert isinstance(recipe, GrpoRecipe) == ("grpo" in path.stem)
    if isinstance(recipe, GrpoRecipe):
        assert recipe.watch.stop_when_blind is not None, "growing robust by going blind must end the run"
        for reward in recipe.rewards:
            assert load_reward(reward.name, reward.weight, reward.args).name == reward.name


@pytest.mark.parametrize("name", ["nano_at_sft", "nano_at_grpo_direct", "nano_at_grpo_think"])
def test_nano_itself_is_the_warm_up(name: str) -> None:
    recipe = load(name)
    assert recipe.model.init == "nano"
    assert recipe.adversarial is not None
    assert recipe.adversarial.ramp_steps > 0, "from a model that knows no attack eps has to grow"


@pytest.mark.parametrize("family", ["qwen2_vl_2b", "qwen3_vl_2b"])
def test_the_second_stage_begins_where_the_first_ends(family: str) -> None:
    second = [path.stem for path in RECIPES if path.stem.startswith(f"{family}_at_grpo")]
    assert len(second) == 2
    for name in second:
        first = re.fullmatch(r"runs/(\w+)/model", load(name).model.init)
        assert first is not None
        warm_up = load(first[1])
        assert isinstance(warm_up, Recipe)
        assert (warm_up.model.lora is None) == (load(name).model.lora is None)
        assert set(load(name).data.modes) <= set(warm_up.data.modes)


@pytest.mark.parametrize("words", ABLATIONS, ids=lambda words: " ".join(words))
def test_an_ablation_is_an_override_that_changes_the_attack_alone(words: list[str]) -> None:
    overrides = [words[0], *(f"adversarial{word}" for word in words[1:])]
    plain, changed = load("nano_at_grpo_direct"), load("nano_at_grpo_direct", *overrides)
    assert changed.adversarial != plain.adversarial
    assert changed.model_dump(exclude={"adversarial"}) == plain.model_dump(exclude={"adversarial"})


def test_the_ablations_hold_every_objective_and_the_plain_recipe() -> None:
    lines = [" adversarial".join(words) for words in ABLATIONS]
    assert {f"adversarial.objective={name}" for name in ("margin", "kl")} <= set(lines)
    assert any("objective=policy" in line for line in lines)
    assert load("nano_at_grpo_direct", "adversarial=null").adversarial is None
    assert "adversarial=null" in lines


@pytest.mark.parametrize("path", [path for path in RECIPES if "8gpu" in path.stem], ids=lambda path: path.stem)
def test_the_launch_lines_name_files_and_layers_that_exist(path: Path) -> None:
    import transformers

    recipe, text = load(path.stem), path.read_text(encoding="utf-8")
    assert recipe.optim.batch_size % (8 * recipe.optim.accumulation) == 0
    for config in re.findall(r"--config_file (\S+)", text):
        assert load_config_from_file(str(ROOT / config)).num_processes == 8
    (layers,) = re.findall(r"--fsdp_transformer_layer_cls_to_wrap (\S+)", text)
    family = path.stem.partition("_2b")[0]
    module = getattr(getattr(transformers.models, family), f"modeling_{family}")
    assert all(hasattr(module, layer) for layer in layers.split(","))


def test_the_recipes_that_may_abstain_differ_in_what_they_say() -> None:
    first, second, plain = load("nano_abstain_at_sft"), load("nano_abstain_at_grpo"), load("nano_at_grpo_direct")
    assert isinstance(first, Recipe)
    assert min(first.data.no_evidence, second.data.no_evidence) > 0
    ball, larger = (Fraction(str(recipe.adversarial.eps)) for recipe in (first, second) if recipe.adversarial)
    assert ball < larger, "the second stage goes on in a larger ball"
    changed, own = plain.model_dump(), second.model_dump()
    differs = {
        "": ["name", "model"],
        "data": ["no_evidence"],
        "optim": ["lr", "steps"],
        "adversarial": ["eps", "ramp_steps"],
    }
    for section, keys in differs.items():
        target, source = (changed[section], own[section]) if section else (changed, own)
        target |= {key: source[key] for key in keys}
    assert own == changed
    header = (FOLDER / "nano_abstain_at_grpo.yaml").read_text(encoding="utf-8").replace(" \\\n#  ", "")
    for line in re.findall(r"medproof train (.*)", header):
        path, *words = line.split()
        load_recipe(ROOT / path, [word for word in words if "=" in word])
    assert second.model.init == "runs/nano_abstain_at_sft/model", "where the first line of the header puts it"
