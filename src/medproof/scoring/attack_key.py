"""What an attack's condition key says: norm, budget, effort. Scoring needs no attack code to read a stored run.

An attack is a condition whose first argument is a norm. A key leaves out arguments at their default; the run stores all
of them beside the key (`run.json`, "arguments"), which is where defaults are read from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from medproof.records import Condition

Arguments = Mapping[str, Mapping[str, str]]
"""Condition key -> every argument by name, as run.json holds them; keys may be missing."""

_NORMS = ("linf", "l2")
_BUDGETED = ("norm", "eps", "steps")
_MINIMAL = {"cw": ("norm", "steps")}
"""Attacks that search the smallest distance and have no eps."""
_CONTROLS = {"random_sign": "linf", "random_l2": "l2"}


@dataclass(frozen=True)
class AttackKey:
    """`eps` is in [0, 1] pixels; None where the attack minimises the norm. `params`: all arguments that are known."""

    condition: str
    name: str
    norm: str
    eps: Fraction | None
    steps: int | None
    restarts: int | None
    objective: str | None
    params: dict[str, str]

    @property
    def eps_255(self) -> float | None:
        """`eps` in units of 1/255, whatever the norm: grey levels for L-inf."""
        return None if self.eps is None else float(self.eps * 255)

    @property
    def minimal(self) -> bool:
        """Whether it searches the closest adversarial image instead of staying within a budget."""
        return self.name in _MINIMAL

    @property
    def family(self) -> str:
        """The attack but for its budget: keys of one family form a curve over eps."""
        return self._without("eps")

    @property
    def lineage(self) -> str:
        """The attack but for its effort: keys of one lineage show whether more steps and restarts change anything."""
        return self._without("steps", "restarts", "queries")

    @classmethod
    def read(cls, condition: str, arguments: Mapping[str, str] | None = None) -> AttackKey | None:
        """None where `condition` is no attack. `arguments`: what the run stores of it."""
        parsed = Condition.parse(condition)
        if not parsed.args or parsed.args[0] not in _NORMS:
            return None
        order = _MINIMAL.get(parsed.name, _BUDGETED)
        params = dict(arguments or {**dict(zip(order, parsed.args, strict=False)), **parsed.kwargs})
        return cls(
            condition=condition,
            name=parsed.name,
            norm=parsed.args[0],
            eps=_fraction(params.get("eps")),
            steps=_whole(params.get("steps", params.get("queries"))),
            restarts=_whole(params.get("restarts")),
            objective=params.get("objective"),
            params=params,
        )

    def _without(self, *names: str) -> str:
        rest = ",".join(f"{name}={self.params[name]}" for name in sorted(self.params) if name not in names)
        return f"{self.name}({rest})"


def attacks(conditions: Iterable[str], arguments: Arguments | None = None) -> list[AttackKey]:
    """The attacks among the condition keys, in their order."""
    found = (AttackKey.read(condition, (arguments or {}).get(condition)) for condition in conditions)
    return [key for key in found if key is not None]


def random_controls(conditions: Iterable[str]) -> dict[tuple[str, Fraction], str]:
    """Random noise of a norm and eps, the control of an attack of that budget: (norm, eps) -> condition key."""
    found: dict[tuple[str, Fraction], str] = {}
    for condition in conditions:
        parsed = Condition.parse(condition)
        norm = _CONTROLS.get(parsed.name)
        eps = _fraction(parsed.args[0] if parsed.args else parsed.kwargs.get("eps"))
        if norm is not None and eps is not None:
            found.setdefault((norm, eps), condition)
    return found


def _fraction(text: str | None) -> Fraction | None:
    """ "8/255", "0.5" -> the number, exact; None for what is no number."""
    try:
        return None if text is None else Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
