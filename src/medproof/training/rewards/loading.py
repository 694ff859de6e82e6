"""From a recipe's entry to a reward: a built-in by its name, or any function by `path.py:function`."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from functools import partial, update_wrapper
from pathlib import Path
from typing import Any

from medproof.errors import UserError
from medproof.training.rewards.accuracy import accuracy
from medproof.training.rewards.columns import ALWAYS, ON_DEMAND, POSITIONAL
from medproof.training.rewards.format import format
from medproof.training.rewards.length import length
from medproof.training.rewards.looks import looks
from medproof.training.rewards.points import points
from medproof.training.rewards.reward_set import Reward, RewardFunction
from medproof.training.rewards.steps import steps
from medproof.training.rewards.supported import supported

BUILTINS: dict[str, RewardFunction] = {
    "accuracy": accuracy,
    "format": format,
    "length": length,
    "looks": looks,
    "points": points,
    "steps": steps,
    "supported": supported,
}


def load_reward(name: str, weight: float = 1.0, args: Mapping[str, Any] | None = None) -> Reward:
    """The reward `name`, with `args` as further keyword arguments.

    `path.py:function` is relative to the working directory, as every path of a recipe; the reward is then called
    `function`, as TRL calls it. Raises UserError for what does not exist, cannot be called as a reward, or would not
    understand its arguments.
    """
    args = dict(args or {})
    function = BUILTINS.get(name) or _from_file(name)
    needs = frozenset(getattr(function, "needs", ()))
    if unknown := needs - set(ON_DEMAND):
        raise UserError(f"reward {name!r} needs {min(unknown)!r}, which does not exist: there are {_list(ON_DEMAND)}")
    _check_arguments(name, function, args, needs)
    bound = update_wrapper(partial(function, **args), function)
    if name in BUILTINS:
        _check_values(name, bound, needs)
    return Reward(name.rpartition(":")[2], bound, weight, needs, bool(getattr(function, "judges_empty", False)))


def _from_file(name: str) -> RewardFunction:
    file, colon, attribute = name.rpartition(":")
    if not colon or not file.endswith(".py"):
        close = difflib.get_close_matches(name, BUILTINS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {_list(BUILTINS)}, or give path.py:function"
        raise UserError(f"unknown reward {name!r}: {hint}")
    path = Path(file)
    if not path.is_file():
        raise UserError(f"reward {name!r}: there is no file {file}, seen from {Path.cwd()}")
    module = _run(path, name)
    function = getattr(module, attribute, None)
    if function is None:
        raise UserError(f"reward {name!r}: {file} has no {attribute!r}; define it there, or mend the name")
    if not callable(function):
        raise UserError(f"reward {name!r}: {attribute!r} in {file} is {type(function).__name__}, not a function")
    if inspect.iscoroutinefunction(function):
        raise UserError(f"reward {name!r} is an async function: make it a plain one")
    return function  # type: ignore[no-any-return]


def _run(path: Path, name: str) -> object:
    """The module in `path`, executed once; dataclasses and pickles inside it find it in sys.modules."""
    key = f"medproof_reward_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[key]
        line = " ".join(str(error).split())
        raise UserError(f"reward {name!r}: {path} does not run: {type(error).__name__}: {line}") from error
    return module


def _check_arguments(name: str, function: RewardFunction, args: Mapping[str, Any], needs: frozenset[str]) -> None:
    """A misspelt argument would vanish in **columns, a missing one would show only after the first generation."""
    given = {*POSITIONAL, *ALWAYS, *needs}
    parameters = inspect.signature(function).parameters.values()
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    own = sorted(named - {*POSITIONAL, *ALWAYS, *ON_DEMAND})
    for argument in args:
        if argument not in own:
            takes = f"it takes {_list(own)}" if own else "it takes none"
            raise UserError(f"reward {name!r} has no argument {argument!r}: {takes}")
    for parameter in parameters:
        if parameter.name not in named or parameter.name in args or parameter.default is not parameter.empty:
            continue
        if parameter.name in ON_DEMAND and parameter.name not in given:
            column = parameter.name
            raise UserError(f"reward {name!r} takes {column!r} but does not ask for it: set f.needs = {{{column!r}}}")
        if parameter.name not in given:
            missing = parameter.name
            raise UserError(f"reward {name!r} needs its argument {missing!r}: give args: {{{missing}: ...}}")
    if not any(p.kind is p.VAR_KEYWORD for p in parameters) and given - named:
        raise UserError(f"reward {name!r} must take **kwargs, as in TRL: it is given {min(given - named)!r} and more")


def _check_values(name: str, bound: RewardFunction, needs: frozenset[str]) -> None:
    """A built-in judges no completion at all, so that values it refuses show before a model is loaded."""
    try:
        bound(**{column: [] for column in (*POSITIONAL, *ALWAYS, *needs)})
    except (TypeError, ValueError) as error:
        raise UserError(f"reward {name!r}: {error}") from error


def _list(names: Any) -> str:
    return ", ".join(names)
