"""What the tests of GRPO share: changing a recipe, comparing weights and logs, reward functions in a file."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from medproof.training.grpo_recipe import GrpoRecipe

REWARDS = '''
"""Rewards that a random network varies in."""

def low(prompts, completions, completion_ids=None, **columns):
    """Share of token ids in the lower half of the vocabulary."""
    return [sum(i < 1024 for i in ids) / len(ids) for ids in completion_ids]

def raises(prompts, completions, completion_ids=None, **columns):
    raise ValueError("no such thing")

def nan(prompts, completions, completion_ids=None, **columns):
    return [float("nan")] * len(completions)

def short(prompts, completions, completion_ids=None, **columns):
    return [1.0]
'''


def changed(recipe: GrpoRecipe, **sections: Any) -> GrpoRecipe:
    """Sections merged key by key; other values replaced."""
    content = recipe.model_dump(mode="json")
    for name, value in sections.items():
        content[name] = content[name] | value if isinstance(value, dict) else value
    return GrpoRecipe.model_validate(content)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def assert_same_weights(a: Path, b: Path) -> None:
    left, right = weights(a), weights(b)
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


def rows(out: Path) -> list[dict[str, float]]:
    """metrics.jsonl without wall times."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{k: v for k, v in line.items() if k != "step_time" and not k.startswith("time/")} for line in lines]
