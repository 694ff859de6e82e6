"""Several rewards, checked and weighed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from medproof.errors import UserError
from medproof.training.groups import Group
from medproof.training.rewards.columns import Columns, columns

RewardFunction = Callable[..., Any]


class RewardError(UserError):
    """A reward function failed. One line that names it, the item and what to do."""


@dataclass(frozen=True)
class Reward:
    """needs: the columns that it asks for, of `columns.ON_DEMAND`. judges_empty: whether it also judges replies to an
    image that shows nothing."""

    name: str
    function: RewardFunction
    weight: float = 1.0
    needs: frozenset[str] = frozenset()
    judges_empty: bool = False


@dataclass(frozen=True, eq=False)
class Scored:
    """rewards: [B, G, R] float64, NaN where a function gave None. totals: [B, G] float64, the weighed sum of what is
    not NaN; NaN where no function judged the completion."""

    rewards: torch.Tensor
    totals: torch.Tensor


class RewardSet:
    """The rewards of a run, in the recipe's order."""

    def __init__(self, rewards: Sequence[Reward]) -> None:
        """Raises UserError where none is given, two have one name, or a weight is not finite."""
        self.rewards = tuple(rewards)
        self.names = tuple(reward.name for reward in rewards)
        self.needs = frozenset[str]().union(*(reward.needs for reward in rewards))
        if not rewards:
            raise UserError("no reward: name at least one, as in rewards: [accuracy, format]")
        for reward in self.rewards:
            if self.names.count(reward.name) > 1:
                raise UserError(f"two rewards are called {reward.name!r}: rename one of the functions")
            if not math.isfinite(reward.weight):
                raise UserError(f"reward {reward.name!r} weighs {reward.weight}: give a finite number")

    def score(self, groups: Sequence[Group], on_demand: Mapping[str, Sequence[Any]] | None = None) -> Scored:
        """Judge every completion of `groups`, all with the same G.

        on_demand: the columns in `needs`, one entry per completion, groups one after another. Raises RewardError where
        a function raises, or returns the wrong number of values or anything but finite numbers and None.
        """
        given = columns(groups, on_demand or {})
        judged = [_where_it_applies(reward, given) for reward in self.rewards]
        rewards = torch.tensor(judged, dtype=torch.float64).T.reshape(len(groups), -1, len(judged))  # [B, G, R]
        weights = torch.tensor([reward.weight for reward in self.rewards], dtype=torch.float64)
        totals = (rewards * weights).nansum(-1).masked_fill(rewards.isnan().all(-1), torch.nan)
        return Scored(rewards, totals)


def _where_it_applies(reward: Reward, given: Columns) -> list[float]:
    """One value per completion; NaN for replies to an empty image, unless the reward judges them."""
    places = [place for place, empty in enumerate(given["empty"]) if reward.judges_empty or not empty]
    values = [math.nan] * len(given["empty"])
    if places:
        asked = {name: [column[place] for place in places] for name, column in given.items()}
        for place, value in zip(places, _judge(reward, asked), strict=True):
            values[place] = value
    return values


def _judge(reward: Reward, given: Columns) -> list[float]:
    """One value per completion, NaN for None."""
    try:
        returned = reward.function(**given)
    except Exception as error:
        raise _failure(reward, given, error) from error
    count = len(given["completions"])
    try:
        values = list(returned)
    except TypeError:
        values = []
    if len(values) != count or isinstance(returned, str):
        items = _items(given)
        found = f"{len(values)} values" if values else type(returned).__name__
        raise RewardError(
            f"reward {reward.name!r} returned {found} for the {count} completions of {items}: "
            "return a list with one number or None per completion"
        )
    return [_number(reward, value, item.id) for value, item in zip(values, given["item"], strict=True)]


def _number(reward: Reward, value: Any, item: str) -> float:
    if value is None:
        return math.nan
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except Exception:  # whatever a stranger's type raises
        number = math.nan
    if not math.isfinite(number):
        raise RewardError(
            f"reward {reward.name!r} gave {value!r} for item {item!r}: return a finite number, "
            "or None where it does not apply"
        )
    return number


def _failure(reward: Reward, given: Columns, error: Exception) -> RewardError:
    """Names the first item on which the function also fails by itself, else all of them."""
    for place in range(len(given["completions"])):
        try:
            reward.function(**{name: values[place : place + 1] for name, values in given.items()})
        except Exception as alone:
            return _raised(reward, f"item {given['item'][place].id!r}", alone)
    return _raised(reward, _items(given), error)


def _raised(reward: Reward, where: str, error: Exception) -> RewardError:
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return RewardError(
        f"reward {reward.name!r} failed on {where}: {line}; mend the function, or return None where it does not apply"
    )


def _items(given: Columns) -> str:
    ids = list(dict.fromkeys(item.id for item in given["item"]))
    return f"item {ids[0]!r}" + (f" and {len(ids) - 1} more" if len(ids) > 1 else "") if ids else "no item"
