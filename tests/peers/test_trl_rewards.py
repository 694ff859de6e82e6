"""One reward function, two houses: what TRL 1.16 computes with it is what we compute."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from trl_stub import trl_trainer

from medproof.models.prompts import messages
from medproof.records import Item
from medproof.training.groups import Completion, Group, Prompt
from medproof.training.rewards import RewardSet, load_reward
from medproof.training.rewards.columns import POSITIONAL, columns

USER = """
def brief(prompts, completions, completion_ids, question_type, limit=2, **kwargs):
    long = [len(completion[0]["content"]) > 3 for completion in completions]
    return [None if l else float(len(ids) < limit) for l, ids in zip(long, completion_ids)]
"""


def make_groups() -> list[Group]:
    item = Item(
        id="ct-1",
        image="ct-1.png",
        case="ct-1",
        modality="CT",
        question_type="Modality Recognition",
        question="Which?",
        options=("CT", "MRI"),
        answer="CT",
    )
    prompt = Prompt(item, "direct", messages(item, "direct"), torch.zeros(28, 28, 3).byte().numpy(), (1,), 0)
    texts = ("A", "B", "<answer>A</answer>", "<answer>B</answer>")
    return [Group(prompt, tuple(Completion((7,) * (i + 1), t, False) for i, t in enumerate(texts))) for _ in range(2)]


def test_rewards_of_both_are_equal(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(USER)
    rewards = RewardSet([load_reward("accuracy"), load_reward("format"), load_reward(f"{tmp_path}/mine.py:brief")])
    groups = make_groups()
    functions: list[Any] = [reward.function for reward in rewards.rewards]
    trainer = trl_trainer(
        reward_funcs=functions,
        reward_processing_classes=[None] * len(functions),
        reward_func_names=[function.__name__ for function in functions],
        state=SimpleNamespace(global_step=0),
        environments=None,
        _pending_extra_logs=defaultdict(list),
    )
    given = columns(groups, {})
    rows = [
        {name: values[i] for name, values in given.items() if name not in POSITIONAL}
        for i in range(len(given["completions"]))
    ]
    theirs = trainer._calculate_rewards(rows, given["prompts"], given["completions"], given["completion_ids"])
    ours = rewards.score(groups).rewards.flatten(0, 1)
    assert rewards.names == ("accuracy", "format", "brief")
    assert ours.isnan().any()
    torch.testing.assert_close(ours.float(), theirs, equal_nan=True)
