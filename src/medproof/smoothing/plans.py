"""How many votes to draw, and when to stop. A plan is fixed before the first vote and names all its looks at the data.

Error is split evenly over the looks, so stopping at any of them costs nothing more (the union bound). Looking at any
other number of votes does: 'stop as soon as it looks good' errs many times as often as it says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from medproof.errors import UserError

Stop = Literal["proven", "hopeless", "precise", "spent"]


@dataclass(frozen=True)
class Fixed:
    """Always n votes, one look."""

    n: int = 1000

    def __post_init__(self) -> None:
        if self.n < 1:
            raise UserError(f"a fixed plan draws at least 1 vote, not {self.n}")

    @property
    def key(self) -> str:
        return f"fixed({self.n})"

    @property
    def looks(self) -> tuple[int, ...]:
        """Numbers of votes at which the counts are looked at, rising."""
        return (self.n,)

    def looks_within(self, n: int) -> int:
        """How many looks the plan would have if it drew n votes at most."""
        return 1


@dataclass(frozen=True)
class Sequential:
    """Looks at first, 2 first, 4 first, ... and last votes; votes are kept. Exactly one of the two aims is given.

    target: decide whether this radius is certified (pixels in [0, 1]; 0: whether there is an answer at all).
        Stops `proven` once the certified radius reaches it, `hopeless` once it is out of reach.
    precision: stop `precise` once going on could add no more than this to the radius.
    beta: error of giving up. Out of reach means: below the target is the upper confidence bound of the radius at beta,
        or what the last look would prove if all votes to come went to the leader.
    Raises UserError for a plan that cannot be carried out.
    """

    target: float | None = None
    precision: float | None = None
    first: int = 32
    last: int = 8192
    beta: float = 0.001

    def __post_init__(self) -> None:
        if (self.target is None) == (self.precision is None):
            raise UserError("a sequential plan has one aim: give target=RADIUS or precision=WIDTH")
        if self.target is not None and not 0 <= self.target < float("inf"):
            raise UserError(f"the target of a sequential plan is a radius of at least 0, not {self.target}")
        if self.precision is not None and not 0 < self.precision < float("inf"):
            raise UserError(f"the precision of a sequential plan is a positive width, not {self.precision}")
        if not 1 <= self.first <= self.last:
            raise UserError(f"a sequential plan needs 1 <= first <= last, not first={self.first}, last={self.last}")
        if not 0 < self.beta < 1:
            raise UserError(f"beta lies between 0 and 1, as 0.001 does; not {self.beta}")

    @property
    def key(self) -> str:
        aim = f"precision={self.precision!r}" if self.target is None else f"target={self.target!r}"
        return f"sequential({aim},first={self.first},last={self.last},beta={self.beta!r})"

    @property
    def looks(self) -> tuple[int, ...]:
        """Numbers of votes at which the counts are looked at, rising."""
        found = [self.first]
        while found[-1] < self.last:
            found.append(min(2 * found[-1], self.last))
        return tuple(found)

    def looks_within(self, n: int) -> int:
        """How many looks the plan would have if it drew n votes at most."""
        return len(replace(self, last=max(n, self.first)).looks)

    def decide(self, n: int, radius: float, ceiling: float) -> Stop | None:
        """Why to stop at the look `n`; None to go on.

        radius: what is certified now, -inf for no answer; ceiling: what can still be hoped for. Both in pixels.
        """
        aim = 0.0 if self.target is None else self.target
        if self.target is not None and radius >= self.target:
            return "proven"
        if ceiling < aim or ceiling <= 0:
            return "hopeless"
        if self.precision is not None and ceiling - max(radius, 0.0) <= self.precision:
            return "precise"
        return "spent" if n == self.last else None


Plan = Fixed | Sequential


def parse_plan(text: str) -> Plan:
    """Read a plan's `key`; parts with a default may be left out: `fixed(1000)`, `sequential(target=0.25)`.

    Raises UserError on anything else.
    """
    match = _CALL.fullmatch(text)
    name, inner = match.groups() if match else ("", "")
    parts = [part.partition("=") for part in inner.replace(" ", "").split(",")]
    given = {key: value for key, equals, value in parts if equals}
    try:
        if name == "fixed":
            return Fixed(int(inner))
        if name == "sequential" and len(given) == len(parts) and given.keys() <= {*_INTEGERS, *_REALS}:
            whole = {key: int(value) for key, value in given.items() if key in _INTEGERS}
            real = {key: float(value) for key, value in given.items() if key in _REALS}
            return Sequential(**whole, **real)  # type: ignore[arg-type]
    except ValueError:
        pass
    raise UserError(
        f"{text!r} is no plan: a plan is fixed(N), sequential(target=R) or sequential(precision=W), the last two with "
        "first=, last= and beta= as you like"
    )


_CALL = re.compile(r"\s*([a-z_]+)\s*\((.*)\)\s*")
_INTEGERS = ("first", "last")
_REALS = ("target", "precision", "beta")
