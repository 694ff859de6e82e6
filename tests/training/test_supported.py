"""The reward for claims that hold, on planted completions and in a training step."""

import json
from pathlib import Path

import pytest
from grpo_runs import changed
from reward_groups import make_group, make_item

from medproof.errors import UserError
from medproof.models.prompts import target_text
from medproof.records import Item, Mode
from medproof.training.grpo import train
from medproof.training.grpo_recipe import GrpoRecipe
from medproof.training.rewards import RewardSet, load_reward

FACTS = {"modality": "ultrasound", "region": "breast", "finding": "malignant breast lesion"}
ITEM = make_item(facts=FACTS)


def score(thoughts: list[str], item: Item = ITEM, mode: Mode = "think", **args: int) -> list[float]:
    texts = [f"<think>{thought}</think><answer>B</answer>" for thought in thoughts]
    rewards = RewardSet([load_reward("supported", args=args)])
    values: list[float] = rewards.score([make_group(texts, item, mode)]).rewards[0, :, 0].tolist()
    return values


def test_planted_rationales() -> None:
    cases = {
        "This is ultrasound. It shows the breast. The lesion is malignant.": 1.0,
        "This is MRI. It shows the chest. The lesion is benign.": 1 / 4 * 1 / 3,  # there is a lesion
        "This is MRI. It shows the breast. So the answer is malignant lesion.": 2 / 3 * 2 / 3,
        "This is ultrasound. This is MRI. It shows the breast.": 2 / 3 * 2 / 3,
        "": 0.0,
        "I see many things.": 0.0,
        "This is ultrasound.": 1 / 3,  # one safe sentence is not all
        "This is ultrasound. This is an ultrasound image. It is sonography.": 1 / 3,
        "This may be ultrasound, possibly of the breast, perhaps malignant.": 0.0,
    }
    assert score(list(cases)) == pytest.approx(list(cases.values()))


def test_a_list_of_absent_diseases_does_not_pay() -> None:
    foreign = "No meningioma, no drusen, no pneumothorax, no glaucoma."
    assert score([foreign]) == [0.0]
    normal = make_item(options=("breast lesion", "no finding"), answer="no finding", facts={"finding": "no finding"})
    assert score(["No lesion, no mass, no cyst, no nodule.", "No lesion."], normal) == [1 / 2, 1 / 2]
    false = "This is MRI."
    assert score([f"{false} No lesion, no mass, no cyst.", f"{false} No lesion."], normal) == [1 / 4, 1 / 4]


def test_fewer_facts_than_the_least_can_still_earn_all() -> None:
    bare = make_item(facts={"modality": "ultrasound"})
    assert score(["This is ultrasound. So the answer is malignant lesion.", "This is ultrasound."], bare) == [1.0, 0.5]
    assert score(["This is ultrasound."], least=1) == [1.0]


def test_what_supervised_training_teaches_earns_all() -> None:
    rewards = RewardSet([load_reward("supported")])
    assert rewards.score([make_group([target_text(ITEM, "think")], ITEM, "think")]).totals.tolist() == [[1.0]]


def test_it_does_not_apply_where_no_rationale_is_asked_for() -> None:
    (value,) = score(["This is ultrasound."], mode="direct")
    assert value != value


def test_an_impossible_least_is_refused_at_once() -> None:
    with pytest.raises(UserError, match=r"reward 'supported': least is 0"):
        load_reward("supported", args={"least": 0})


def test_a_recipe_trains_with_it(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    """A random network claims nothing, which earns nothing."""
    rewards = [*grpo_recipe.model_dump()["rewards"], {"name": "supported", "weight": 0.5, "args": {"least": 2}}]
    recipe = changed(grpo_recipe, rewards=rewards, data={"modes": {"think": 1.0}})
    train(recipe, tmp_path, device="cpu", stop_at=1)
    logged = json.loads((tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert logged["rewards/supported/mean"] == 0.0
    assert logged["reward"] > 0
