"""The reward `steps` on planted completions, values by hand."""

import math

import pytest
from reward_groups import make_group, make_item

from medproof.models.prompts import STEPS
from medproof.training.rewards import RewardSet, load_reward

RIGHT = "modality: Ultrasound; lesion box: 10,10,30,50; lesion shape: oval. So the answer is malignant lesion."
ITEM = make_item(facts={STEPS: RIGHT})


@pytest.mark.parametrize(
    ("thought", "value"),
    [
        (RIGHT, 1.0),
        (RIGHT.replace("Ultrasound", "ULTRASOUND").replace("oval", "Oval"), 1.0),
        (RIGHT.replace("oval", "round"), 0.75),  # one wrong step does not cost those after it
        (RIGHT.replace("Ultrasound", "CT").replace("50;", "25;"), 0.5),  # IoU 3/8
        (RIGHT.replace("50;", "40;"), 1.0),  # IoU 3/4
        ("So the answer is malignant lesion.", 0.25),  # the end without the way
        ("modality: CT; modality: Ultrasound", 0.0),  # the first counts
        (f"lesion side: left; {RIGHT}", 1.0),
        ("It is an ultrasound image of a malignant lesion.", 0.0),
        ("", 0.0),
    ],
)
def test_the_share_of_right_steps(thought: str, value: float) -> None:
    reward = RewardSet([load_reward("steps")])
    group = make_group([f"<think>{thought}</think><answer>A</answer>"], ITEM, "think")
    assert reward.score([group]).rewards[0, 0, 0].item() == value


def test_steps_outside_the_thought_do_not_count() -> None:
    group = make_group([RIGHT, f"<think></think><answer>{RIGHT}</answer>"], ITEM, "think")
    assert RewardSet([load_reward("steps")]).score([group]).rewards.flatten().tolist() == [0.0, 0.0]


def test_it_does_not_apply_to_an_item_without_a_chain() -> None:
    group = make_group([f"<think>{RIGHT}</think><answer>B</answer>"], make_item(), "think")
    assert math.isnan(RewardSet([load_reward("steps")]).score([group]).rewards.item())


def test_it_adds_to_accuracy_and_format() -> None:
    rewards = RewardSet([load_reward("accuracy"), load_reward("steps"), load_reward("format", 0.5)])
    texts = [f"<think>{RIGHT.replace('oval', 'round')}</think><answer>B</answer>", f"<think>{RIGHT}</think>"]
    assert rewards.score([make_group(texts, ITEM, "think")]).totals.tolist() == [[1 + 0.75 + 0.5, 1.0]]
