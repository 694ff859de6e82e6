"""Attacks as conditions, thin over `medproof.attacks`. No torch at import.

`prepare` gives the clean view under the attack's key; `perturb` runs the attack on a batch of them. What `View.info`
holds afterwards is said in `numbers`.
"""

from collections.abc import Sequence
from importlib import import_module

from medproof.conditions.context import Context
from medproof.conditions.controls import clean
from medproof.conditions.evidence import evidence_mask
from medproof.conditions.kind import Arguments, Kind, Parameter, Perturb, Prepare
from medproof.conditions.parameters import choice, count, eps_by_norm, sigma
from medproof.errors import UserError
from medproof.records import Condition, Item, View

_STEPPED = ("margin", "answer", "targeted", "opening", "rationale", "refreshed", "sampled", "stop", "encoder")
_ONE_STEP = ("margin", "answer", "opening", "rationale", "sampled", "stop")
"""Not encoder: its gradient is zero at the clean image, where the one step is taken."""
_FIXED_LOSS = ("margin", "answer", "targeted", "opening", "rationale", "stop", "encoder")
"""Auto-PGD compares losses between steps: not those whose rationale changes."""
_THROUGH_NOISE = ("margin", "answer", "opening", "rationale")
_RULES = ("cosine", "constant", "momentum")
_READS = ("options", "letter")

_NORM = choice("norm", ("linf", "l2"))
_EPS = Parameter("eps", eps_by_norm)
_STEPS = count("steps", 10_000, 20)


def random_twin(given: Arguments) -> str:
    """The random noise that an attack of this norm and eps has to beat."""
    return f"random_sign({given['eps']})" if given["norm"] == "linf" else f"random_l2({given['eps']})"


def with_evidence(items: Sequence[Item], condition: Condition, given: Arguments, context: Context) -> list[View | None]:
    """As `clean`; None for items that have no evidence, which are counted as not applicable."""
    views = clean(items, condition, given, context)
    return [None if evidence_mask(item, context) is None else view for item, view in zip(items, views, strict=True)]


def _in(module: str, name: str) -> Perturb:
    """A function of another module of this package, which imports torch, found when it is called."""

    def perturb(views: Sequence[View], condition: Condition, given: Arguments, context: Context) -> list[View]:
        attack: Perturb = getattr(import_module(f"medproof.conditions.{module}"), name)
        return attack(views, condition, given, context)

    return perturb


def _noise(text: str, given: Arguments) -> str:
    """0, or a sigma, for objectives whose score may be asked through noise."""
    if text.strip("0.") == "":
        return "0"
    if given["objective"] not in _THROUGH_NOISE:
        raise UserError(
            f"noise goes with objective {', '.join(_THROUGH_NOISE)}, not {given['objective']}: leave it out"
        )
    return sigma(text, given)


def _within_eps(name: str, text: str, *parameters: Parameter, prepare: Prepare = clean, run: Perturb) -> Kind:
    """A white-box attack within a ball."""
    return Kind(
        name,
        text,
        prepare,
        (_NORM, _EPS, *parameters),
        expected="keep",
        twin=random_twin,
        perturb=run,
        needs_gradients=True,
    )


KINDS = (
    _within_eps(
        "fgsm",
        "white-box attack: one gradient step of length eps",
        choice("objective", _ONE_STEP, "margin", positional=False),
        run=_in("white_box", "fgsm_views"),
    ),
    _within_eps(
        "pgd",
        "white-box attack: projected gradient descent within eps, linf k/255 or l2 in [0, 1] pixels",
        _STEPS,
        count("restarts", 1_000, 1, positional=False),
        choice("objective", _STEPPED, "margin", positional=False),
        choice("rule", _RULES, "cosine", positional=False),
        Parameter("noise", _noise, "0", positional=False),
        count("draws", 1_000, 4, positional=False),
        count("every", 10_000, 5, positional=False),
        run=_in("white_box", "pgd_views"),
    ),
    _within_eps(
        "apgd",
        "white-box attack: Auto-PGD, which chooses its own step sizes",
        _STEPS,
        count("restarts", 1_000, 1, positional=False),
        choice("objective", _FIXED_LOSS, "margin", positional=False),
        run=_in("white_box", "apgd_views"),
    ),
    _within_eps(
        "targeted",
        "white-box attack: Auto-PGD towards each wrong option in turn",
        _STEPS,
        run=_in("white_box", "targeted_views"),
    ),
    Kind(
        "cw",
        "white-box attack: Carlini & Wagner, the closest wrong image in l2, without a bound",
        clean,
        (choice("norm", ("l2",), "l2"), count("steps", 10_000, 100), count("search", 100, 4, positional=False)),
        expected="keep",
        perturb=_in("closest", "cw_views"),
        needs_gradients=True,
    ),
    Kind(
        "square",
        "black-box attack: random search with squares; reads option scores, or only the decoded letter",
        clean,
        (_NORM, _EPS, count("queries", 1_000_000, 500), choice("reads", _READS, "options", positional=False)),
        expected="keep",
        twin=random_twin,
        perturb=_in("black_box", "square_views"),
        needs_options=lambda given: given["reads"] == "options",
    ),
    _within_eps(
        "background",
        "PGD that leaves the evidence untouched; items without evidence are skipped",
        _STEPS,
        prepare=with_evidence,
        run=_in("white_box", "masked_views"),
    ),
    _within_eps(
        "evidence",
        "PGD that changes the evidence only; items without evidence are skipped",
        _STEPS,
        prepare=with_evidence,
        run=_in("white_box", "masked_views"),
    ),
    _within_eps(
        "universal",
        "one perturbation for all images, fitted on the train items, or on the other half where there are none",
        count("steps", 10_000, 100),
        run=_in("universal_plan", "universal_views"),
    ),
    _within_eps(
        "union",
        "all white-box attacks and square, cheap to dear, each on the items that all before left right",
        _STEPS,
        run=_in("ladder", "union_views"),
    ),
)
