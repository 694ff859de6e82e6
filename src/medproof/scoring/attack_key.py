"""What an attack's condition key says: norm, budget, effort. Scoring needs no attack code to read a stored run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from medproof.records import Condition

# Positional arguments by name, in the order of the condition grammar.
_POSITIONAL: dict[str, tuple[str, ...]] = {
    "pgd": ("norm", "eps", "steps", "restarts", "objective"),
    "fgsm": ("norm", "eps", "objective"),
    "cw": ("norm", "steps", "objective"),
    "square": ("norm", "eps", "queries", "restarts"),
}
# Arguments that a canonical key leaves out where they have their default.
_DEFAULTS: dict[str, dict[str, str]] = {
    "pgd": {"steps": "20", "restarts": "1", "objective": "margin"},
    "fgsm": {"steps": "1", "restarts": "1", "objective": "margin"},
}
_CONTROLS = {"random_sign": "linf", "random_l2": "l2"}


@dataclass(frozen=True)
class AttackKey:
    """`eps` is in [0, 1] pixels; None where the attack minimises the norm. `params`: all arguments."""

    condition: str
    name: str
    norm: str | None
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
    def family(self) -> str:
        """The attack but for its budget: keys of one family form a curve over eps."""
        rest = ",".join(f"{k}={self.params[k]}" for k in sorted(self.params) if k != "eps")
        return f"{self.name}({rest})" if rest else self.name

    @classmethod
    def read(cls, condition: str) -> AttackKey | None:
        """None where `condition` is no attack."""
        parsed = Condition.parse(condition)
        order = _POSITIONAL.get(parsed.name)
        if order is None:
            return None
        named = dict(zip(order, parsed.args, strict=False))
        params = {**_DEFAULTS.get(parsed.name, {}), **named, **parsed.kwargs}
        return cls(
            condition=condition,
            name=parsed.name,
            norm=params.get("norm"),
            eps=_fraction(params.get("eps")),
            steps=_whole(params.get("steps", params.get("queries"))),
            restarts=_whole(params.get("restarts")),
            objective=params.get("objective"),
            params=params,
        )


def attacks(conditions: Iterable[str]) -> list[AttackKey]:
    """The attacks among the condition keys, in their order."""
    return [key for condition in conditions if (key := AttackKey.read(condition)) is not None]


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
