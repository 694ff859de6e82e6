"""The plug-in shape of a condition: one `Kind`.

A module of kinds is listed in `registry.MODULES`; nothing else changes when one is added. It imports no torch at its
top: the registry is read by commands that never need a model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from medproof.conditions.context import Context
from medproof.records import Condition, Expected, Item, View

Arguments: TypeAlias = Mapping[str, str]
"""Canonical text of every parameter by name, defaults filled in."""

Prepare: TypeAlias = Callable[[Sequence[Item], Condition, Arguments, Context], list[View | None]]
Perturb: TypeAlias = Callable[[Sequence[View], Condition, Arguments, Context], list[View]]


Order: TypeAlias = Literal["any", "in_turn", "together"]
"""any: no item waits for another. in_turn: an item is prepared when the model has answered the steps it builds on.
together: one reply answers all steps of a chain."""


@dataclass(frozen=True)
class Parameter:
    """One argument of a condition.

    read: canonical text from what the user wrote and the arguments before it; raises UserError.
    default: canonical, None where the argument must be given. Arguments with a default that are not `positional` are
    written as key=value, and left out of the key when they have their default.
    """

    name: str
    read: Callable[[str, Arguments], str]
    default: str | None = None
    positional: bool = True


def _no_twin(_: Arguments) -> str | None:
    return None


def _any_order(_: Arguments) -> Order:
    return "any"


def _no_options(_: Arguments) -> bool:
    return False


@dataclass(frozen=True)
class Kind:
    """One condition by name.

    prepare: cheap, no gradients, callable from threads; None for an item the condition does not apply to.
    perturb: for attacks, and what needs a reply of the model first; takes prepared views to finished ones.
    needs_gradients: whether `perturb` needs a white-box model. needs_options: whether it reads option scores.
    expected: what a good model does with its answer, for given arguments where it depends on them.
    order: how the items of a chain wait for each other.
    twin: key of the control condition for given arguments.
    """

    name: str
    help: str
    prepare: Prepare
    parameters: tuple[Parameter, ...] = ()
    expected: Expected | Callable[[Arguments], Expected] = "any"
    twin: Callable[[Arguments], str | None] = _no_twin
    perturb: Perturb | None = None
    needs_gradients: bool = False
    needs_options: Callable[[Arguments], bool] = _no_options
    order: Callable[[Arguments], Order] = _any_order

    @property
    def usage(self) -> str:
        """The grammar in one line, as in `pgd(norm, eps, steps, objective=margin, restarts=1)`."""
        if not self.parameters:
            return self.name
        shown = [p.name if p.positional else f"{p.name}={p.default}" for p in self.parameters]
        return f"{self.name}({', '.join(shown)})"
