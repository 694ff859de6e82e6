"""Attacks as conditions, thin over `medproof.attacks`. No torch at import.

`prepare` gives the clean view under the attack's key; `perturb` runs the attack on a batch of them.
"""

from collections.abc import Sequence

from medproof.conditions.context import Context
from medproof.conditions.controls import clean
from medproof.conditions.kind import Arguments, Kind, Parameter
from medproof.conditions.parameters import choice, count, eps_by_norm
from medproof.records import Condition, View

_NORMS = ("linf", "l2")
_OBJECTIVES = ("margin", "answer")


def pgd(views: Sequence[View], condition: Condition, given: Arguments, context: Context) -> list[View]:
    """Projected gradient descent; `info` of the views tells budget, cost and what was reached."""
    from medproof.conditions.white_box import pgd_views

    return pgd_views(views, condition, given, context)


def random_twin(given: Arguments) -> str:
    """The random noise that an attack of this norm and eps has to beat."""
    return f"random_sign({given['eps']})" if given["norm"] == "linf" else f"random_l2({given['eps']})"


KINDS = (
    Kind(
        "pgd",
        "white-box attack: projected gradient descent within eps, linf k/255 or l2 in [0, 1] pixels",
        clean,
        (
            choice("norm", _NORMS),
            Parameter("eps", eps_by_norm),
            count("steps", 10_000, 20),
            count("restarts", 1_000, 1, positional=False),
            choice("objective", _OBJECTIVES, "margin", positional=False),
        ),
        expected="keep",
        twin=random_twin,
        perturb=pgd,
        needs_gradients=True,
    ),
)
