"""Readers of condition arguments: text a user wrote to the one canonical text for it. No torch."""

import math
import re
from collections.abc import Sequence
from fractions import Fraction

from medproof.conditions.kind import Arguments, Parameter
from medproof.errors import UserError

WHITE = 255
_DECIMAL = r"(?:\d{1,9}(?:\.\d{0,18})?|\.\d{1,18})"
_NUMBER = re.compile(rf"([+-]?{_DECIMAL})(?:/(0*[1-9]\d{{0,8}}))?", re.ASCII)
"""A decimal or a fraction, without exponent."""


def grey_levels(eps: str) -> int:
    """k of a canonical linf eps "k/255"."""
    return int(Fraction(eps) * WHITE)


def linf_eps(text: str, _: Arguments) -> str:
    """ "8/255" from 8/255, 16/510, ...: an integer number of grey levels from 0 to 255."""
    scaled = _number(text, "eps", "8/255") * WHITE
    if not 0 <= scaled <= WHITE:
        raise UserError(f"eps {text} is outside 0/255 to 255/255: give k/255, as in 8/255")
    if scaled.denominator != 1:
        low = math.floor(scaled)
        raise UserError(f"{text} is between {low}/255 and {low + 1}/255: say which")
    return f"{scaled.numerator}/{WHITE}"


def l2_eps(text: str, _: Arguments) -> str:
    """A positive length in units of [0, 1] pixels over the whole image, as in 0.5."""
    value = _number(text, "eps", "0.5")
    if value <= 0:
        raise UserError(f"eps {text} of an l2 ball must be above 0: give a length in [0, 1] pixels, as in 0.5")
    return _plain(value)


def eps_by_norm(text: str, given: Arguments) -> str:
    """k/255 for linf, a positive length for l2; the norm stands before."""
    return linf_eps(text, given) if given["norm"] == "linf" else l2_eps(text, given)


def sigma(text: str, _: Arguments) -> str:
    """Standard deviation of noise in units of [0, 1] pixels, above 0 and at most 1."""
    value = _number(text, "sigma", "0.25")
    if not 0 < value <= 1:
        raise UserError(f"sigma {text} must be above 0 and at most 1, in units of [0, 1] pixels, as in 0.25")
    return _plain(value)


def choice(name: str, options: Sequence[str], default: str | None = None, *, positional: bool = True) -> Parameter:
    """A parameter that is one of `options`."""

    def read(text: str, _: Arguments) -> str:
        if text not in options:
            raise UserError(f"{name} {text!r} is none of {', '.join(options)}")
        return text

    return Parameter(name, read, default, positional)


def count(name: str, most: int, default: int | None = None, *, positional: bool = True) -> Parameter:
    """A parameter that is an integer from 1 to `most`."""

    def read(text: str, _: Arguments) -> str:
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
            raise UserError(f"{name} {text!r} is no whole number from 1 to {most}")
        return str(int(text))

    return Parameter(name, read, None if default is None else str(default), positional)


def _number(text: str, name: str, example: str) -> Fraction:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise UserError(f"{name} {text!r} is no number: write it as in {example}")
    return Fraction(match.group(1)) / int(match.group(2) or 1)


def _plain(value: Fraction) -> str:
    """One text per number: a decimal where that is exact, else a reduced fraction."""
    rest, digits = value.denominator, 0
    while rest % 10 == 0 or rest % 5 == 0 or rest % 2 == 0:
        rest //= 10 if rest % 10 == 0 else 5 if rest % 5 == 0 else 2
        digits += 1
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    scaled = str(value.numerator * 10**digits // value.denominator).rjust(digits + 1, "0")
    whole, part = scaled[: len(scaled) - digits], scaled[len(scaled) - digits :].rstrip("0")
    return f"{whole}.{part}" if part else whole
