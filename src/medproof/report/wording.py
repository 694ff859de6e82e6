"""Numbers and conditions in words: one way of writing each, used by every part of the page."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from medproof.errors import UserError
from medproof.records import Condition
from medproof.scoring.attack_key import AttackKey

NBSP = "\u00a0"
MISSING = "–"

NAMES = {
    "clean": "Clean image",
    "blank": "Blank image",
    "noimage": "No image",
    "shuffled": "Shuffled image",
    "noise": "Gaussian noise",
    "random_sign": "Random noise",
    "random_l2": "Random L2 noise",
    "fgsm": "FGSM",
    "pgd": "PGD",
    "apgd": "APGD",
    "targeted": "Targeted sweep",
    "cw": "C&W",
    "square": "Square attack",
    "background": "Background only",
    "evidence": "Evidence only",
    "universal": "Universal perturbation",
    "union": "Union of attacks",
}
NORMS = {"linf": "L∞", "l2": "L2"}


def percent(value: Any, digits: int = 1) -> str:
    """A share in [0, 1] as "88.1 %"; a dash where there is none."""
    return MISSING if not isinstance(value, int | float) else f"{100 * value:.{digits}f}{NBSP}%"


def points(value: Any) -> str:
    """A difference of shares with its sign, in percentage points."""
    return MISSING if not isinstance(value, int | float) else f"{100 * value:+.1f}".replace("-", "−") + f"{NBSP}pp"


def interval(bounds: Sequence[float] | None) -> str:
    """A 95 % interval as "85.0 to 90.6"; empty where there is none."""
    if not bounds or any(bound is None for bound in bounds):
        return ""
    low, high = (f"{100 * bound:.1f}".replace("-", "−") for bound in bounds)
    return f"{low} to {high}".replace(" ", NBSP)


def name_of(key: str) -> str:
    """The condition's bare name: "pgd" of "pgd(linf,8/255,20)"."""
    return key.partition("(")[0].strip()


def in_words(key: str) -> str:
    """A condition key in plain words, as in "PGD L∞ 8/255, 20 steps"; the key itself where it cannot be read."""
    try:
        condition = Condition.parse(key)
    except (UserError, ValueError):
        return key
    base = NAMES.get(condition.name, condition.name.replace("_", " ").capitalize())
    if (attack := AttackKey.read(key)) is not None:
        return _attack_words(base, attack, condition.kwargs)
    sizes = [a for a in condition.args if "/" in a or "." in a]
    rest = [a.replace("_", " ") for a in condition.args if a not in sizes]
    options = [f"{name}{NBSP}{value.replace('_', ' ')}" for name, value in sorted(condition.kwargs.items())]
    if condition.name == "noise":
        sizes = [f"σ{NBSP}{size}" for size in sizes]
    if condition.name == "random_sign":
        sizes = [f"±{size}" for size in sizes]
    return ", ".join([NBSP.join([base, *sizes, *rest]), *options])


def _attack_words(base: str, attack: AttackKey, options: Mapping[str, str]) -> str:
    words = NBSP.join(filter(None, (base, NORMS[attack.norm], attack.params.get("eps"))))
    unit = "queries" if attack.name == "square" else "steps"
    effort = [] if attack.steps is None else [f"{attack.steps}{NBSP}{unit}"]
    return ", ".join([words, *effort, *(f"{name}{NBSP}{value}" for name, value in sorted(options.items()))])


SHORT = {"clean": "Clean", "noimage": "No image", "blank": "Blank", "shuffled": "Shuffled", "noise": "Noise"}


def in_short(key: str) -> str:
    """A condition key in one or two words for narrow places, as in "PGD 8/255"."""
    try:
        condition = Condition.parse(key)
    except (UserError, ValueError):
        return key
    if condition.name not in NAMES and not condition.name.startswith("random"):
        return in_words(key)
    name = SHORT.get(
        condition.name, "Random" if condition.name.startswith("random") else NAMES.get(condition.name, key)
    )
    attack = AttackKey.read(key)
    if attack is None:
        return NBSP.join([name, *(a for a in condition.args if "/" in a or "." in a)])
    norm = "L2" if attack.norm == "l2" else None
    return NBSP.join(filter(None, (name, norm, attack.params.get("eps"), condition.kwargs.get("objective"))))


def moment(created: Any) -> str:
    """An ISO time as "2025-01-02 03:04 UTC"; anything else as it is."""
    text = str(created or "")
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = " UTC" if time.utcoffset() == timedelta(0) else f" {time:%Z}" if time.tzinfo else ""
    return f"{time:%Y-%m-%d %H:%M}{zone}"


def eps_text(attack: Mapping[str, Any]) -> str:
    """The budget of an attack block: "8/255" in L-inf, "0.5" (pixels in [0, 1]) in L2, a dash where it has none."""
    eps = attack.get("eps_255")
    if eps is None:
        return MISSING
    return f"{eps / 255:g}" if attack.get("norm") == "l2" else f"{eps:g}/255"


def join_words(parts: Sequence[str], last: str = "and") -> str:
    """ "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}" if parts else ""
