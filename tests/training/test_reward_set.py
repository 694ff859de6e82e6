"""Rewards from files, their weights, and every way in which one can fail."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reward_groups import make_group, make_item

from medproof.errors import UserError
from medproof.training.rewards import Reward, RewardError, RewardSet, load_reward

GROUPS = [
    make_group(["<answer>B</answer>", "x"]),
    make_group(["<answer>A</answer>", "<answer>B</answer>"], make_item("us-2")),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def constant(*values: Any) -> Reward:
    return Reward("planted", lambda **_: list(values))


def test_shape_and_order() -> None:
    scored = RewardSet([load_reward("accuracy"), load_reward("format", weight=0.5)]).score(GROUPS)
    assert scored.rewards.tolist() == [[[1, 1], [0, 0]], [[0, 1], [1, 1]]]
    assert scored.totals.tolist() == [[1.5, 0], [0.5, 1.5]]


def test_none_is_left_out_of_the_sum_and_nan_where_no_one_judged() -> None:
    one, two = constant(1.0, None, 3, None), Reward("other", lambda **_: [None, 2.0, True, None], weight=10)
    scored = RewardSet([one, two]).score(GROUPS)
    assert scored.totals.flatten().tolist()[:3] == [1, 20, 13]
    assert math.isnan(scored.totals[1, 1])
    assert scored.rewards.isnan().sum() == 4


@pytest.mark.parametrize("returned", [np.array([1, 2, 3, 4]), torch.tensor([1.0, 2, 3, 4]), (1, 2, 3, np.float32(4))])
def test_any_sequence_of_numbers_will_do(returned: Any) -> None:
    scored = RewardSet([Reward("planted", lambda **_: returned)]).score(GROUPS)
    assert scored.totals.flatten().tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, "1", [1], 1j, torch.tensor([1.0, 2.0]), 10**400])
def test_what_is_no_finite_number_names_reward_and_item(bad: Any) -> None:
    with pytest.raises(RewardError, match=r"reward 'planted' gave .* for item 'us-2': return a finite number, or None"):
        RewardSet([constant(0, 0, 0, bad)]).score(GROUPS)


@pytest.mark.parametrize("returned", [None, 1.0, [], [1, 2], [1] * 5, "four"])
def test_wrong_length_names_reward_and_items(returned: Any) -> None:
    with pytest.raises(RewardError, match=r"reward 'planted' returned .* 4 completions of item 'us-1' and 1 more: ret"):
        RewardSet([Reward("planted", lambda **_: returned)]).score(GROUPS)


def test_a_reward_that_raises_names_the_item_it_fails_on() -> None:
    def broken(completions: list[Any], item: list[Any], **_: Any) -> list[float]:
        return [1 / ("A" not in c[0]["content"]) for c in completions]

    with pytest.raises(RewardError) as caught:
        RewardSet([Reward("planted", broken)]).score(GROUPS)
    text = str(caught.value)
    assert text.startswith("reward 'planted' failed on item 'us-2': ZeroDivisionError: division by zero; mend")
    assert "\n" not in text


def test_a_reward_that_raises_only_on_the_batch_names_all() -> None:
    def broken(completions: list[Any], **_: Any) -> list[float]:
        if len(completions) > 1:
            raise ValueError("too\nmany")
        return [0.0]

    with pytest.raises(RewardError, match=r"failed on item 'us-1' and 1 more: ValueError: too many;"):
        RewardSet([Reward("planted", broken)]).score(GROUPS)


USER = """
def short(prompts, completions, completion_ids, limit, bonus=0.0, **kwargs):
    return [float(len(ids) <= limit) + bonus for ids in completion_ids]

def sees(completions, image, item, mode, answer_letter, option_probs, **kwargs):
    assert all(i.shape == (28, 28, 3) for i in image)
    return [p[0] if i.id == "us-1" and m == "direct" and a == "B" else None
            for p, i, m, a in zip(option_probs, item, mode, answer_letter)]

sees.needs = {"option_probs"}

class Judge:
    def __call__(self, completions, **kwargs):
        return [0.5] * len(completions)

judge = Judge()
number = 3

def greedy(completions):
    return [0.0] * len(completions)

def forgets(completions, option_probs, **kwargs):
    return [0.0] * len(completions)

def asks(completions, **kwargs):
    return [0.0] * len(completions)

asks.needs = {"option_prob"}

async def later(completions, **kwargs):
    return [0.0] * len(completions)
"""


def test_user_functions_get_arguments_and_columns(here: Path) -> None:
    (here / "mine.py").write_text(USER)
    rewards = RewardSet(
        [
            load_reward("mine.py:short", args={"limit": 1, "bonus": 0.25}),
            load_reward(f"{here}/mine.py:sees", weight=2),
            load_reward("mine.py:judge"),
        ]
    )
    assert rewards.names == ("short", "sees", "judge")
    scored = rewards.score(GROUPS, {"option_probs": [(0.5, 0.5, 0.0)] * 4})
    assert scored.rewards[0].tolist() == [[1.25, 0.5, 0.5]] * 2
    assert scored.totals.tolist() == [[2.75, 2.75], [1.75, 1.75]]


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("acuracy", {}, "unknown reward 'acuracy': did you mean 'accuracy'?"),
        (
            "xyz",
            {},
            "unknown reward 'xyz': there are accuracy, format, length, looks, points, steps, supported, or give "
            "path.py:function",
        ),
        ("absent.py:f", {}, "there is no file absent.py"),
        ("mine.py:absent", {}, "mine.py has no 'absent'"),
        ("mine.py:number", {}, "'number' in mine.py is int, not a function"),
        ("mine.py:later", {}, "is an async function"),
        ("mine.py:greedy", {}, "must take **kwargs, as in TRL"),
        ("mine.py:short", {}, "needs its argument 'limit': give args: {limit: ...}"),
        ("mine.py:short", {"limt": 3}, "has no argument 'limt': it takes bonus, limit"),
        ("mine.py:forgets", {}, "takes 'option_probs' but does not ask for it: set f.needs = {'option_probs'}"),
        ("mine.py:asks", {}, "needs 'option_prob', which does not exist"),
        ("broken.py:f", {}, "broken.py does not run: SyntaxError"),
        ("accuracy", {"mode": "think"}, "has no argument 'mode': it takes none"),
        ("length", {"minimum": 3}, "has no argument 'minimum': it takes longest, margin, shortest"),
    ],
)
def test_a_reward_that_cannot_work_is_refused_at_once(
    here: Path, name: str, args: dict[str, Any], message: str
) -> None:
    (here / "mine.py").write_text(USER)
    (here / "broken.py").write_text("def f(:\n")
    with pytest.raises(UserError) as caught:
        load_reward(name, args=args)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_set_that_cannot_be_told_apart_or_weighed_is_refused() -> None:
    with pytest.raises(UserError, match="no reward"):
        RewardSet([])
    with pytest.raises(UserError, match="two rewards are called 'planted'"):
        RewardSet([constant(1), constant(2)])
    with pytest.raises(UserError, match="weighs nan"):
        RewardSet([load_reward("accuracy", weight=math.nan)])
