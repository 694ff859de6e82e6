"""What a completion earns. Every reward is a function with TRL's signature, so that it works there and here:

    f(prompts, completions, completion_ids=None, **columns) -> list[float | None]

One value per completion; None where the reward does not apply. `columns.py` says what it is given, `loading.py` how a
recipe names it, `reward_set.py` how several are weighed; one file per built-in.
"""

from medproof.training.rewards.loading import load_reward
from medproof.training.rewards.reward_set import Reward, RewardError, RewardSet, Scored

__all__ = ["Reward", "RewardError", "RewardSet", "Scored", "load_reward"]
