"""A reward that costs nothing and differs between completions: for timing."""

from typing import Any


def any_reward(prompts: Any, completions: Any, completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [float(sum(ids) % 7) for ids in completion_ids]
