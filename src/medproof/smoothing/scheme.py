"""A scheme says how votes become a certificate, before the first vote is drawn; a tally is what was drawn so far.

Everything is a pure function, so thousands of images may be served at different progress, from any process:

    tally = scheme.start(labels)
    while (step := scheme.step(tally)).draws:
        tally = scheme.add(tally, votes of the next draws, at most step.draws)
    certificate = certify(scheme, item_id, tally)
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr

from medproof.errors import UserError
from medproof.smoothing.bounds import Bound, Counts, OneClass, Simultaneous
from medproof.smoothing.plans import Fixed, Plan, Sequential, Stop

DECIMALS = 6
_ARITHMETIC = 1e-9
"""Relative allowance for the floating-point arithmetic of quantiles; it is many times what they err."""


class Tally(NamedTuple):
    """Votes by label, every class of the item present, in the draws that select the class and in the others."""

    counts: Mapping[str, int]
    selection: Mapping[str, int]

    @property
    def n(self) -> int:
        return sum(self.counts.values())

    @property
    def n0(self) -> int:
        return sum(self.selection.values())


class Step(NamedTuple):
    """What comes next: this many more draws, or none and why. `draws` never reaches past a look."""

    draws: int
    stop: Stop | None = None


@dataclass(frozen=True)
class Scheme:
    """Noise (sigma, in [0, 1] pixels), error (alpha, per image), bound and plan of a certificate.

    Raises UserError for sigma <= 0 and alpha outside (0, 1).
    """

    sigma: float
    alpha: float = 0.001
    bound: Bound = field(default_factory=Simultaneous)
    plan: Plan = field(default_factory=Fixed)

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise UserError(f"sigma is a positive number in [0, 1] pixels, such as 0.25; not {self.sigma}")
        if not 0 < self.alpha < 1:
            raise UserError(f"alpha lies between 0 and 1, such as 0.001; not {self.alpha}")

    @property
    def target(self) -> float:
        """The radius the plan is to decide on, in pixels; 0 where it has none."""
        return (self.plan.target or 0.0) if isinstance(self.plan, Sequential) else 0.0

    def check(self, classes: int) -> None:
        """Raises UserError, with the number that is needed, if the plan is too short to prove anything of K classes."""
        longest, needed = self.plan.looks[-1], self.draws_needed(classes)
        if longest >= needed:
            return
        what = f"certify a radius of {self.target:g} at sigma {self.sigma:g}" if self.target else "leave abstention"
        able = f"draw at least {needed:,}" if needed < math.inf else "choose a larger sigma or a smaller target"
        looks = len(self.plan.looks)
        raise UserError(
            f"{longest:,} draws can never {what}, not even if all agree ({classes} classes, alpha {self.alpha:g}, "
            f"{looks} look{'s' * (looks > 1)}, {self.bound.key}): {able}"
        )

    def draws_needed(self, classes: int) -> int | float:
        """Fewest draws (`n`, or `last`) with which this plan can leave abstention, or reach its target, on K classes.

        Of n votes that all agree both bounds make R = sigma Phi^-1(level^(1/n)). inf where no number will do.
        """
        per_draw = float(log_ndtr(self.target / self.sigma * (1 + _ARITHMETIC)))
        if per_draw > -1e-15:
            return math.inf
        first = self.plan.first if isinstance(self.plan, Sequential) else 1
        n = 0
        while True:
            # More draws may mean more looks, each at a smaller error: the number settles from below.
            level = self.bound.level(self.alpha / self.plan.looks_within(n), classes)
            needed = max(first, math.floor(math.log(level) / per_draw) + 1)
            if needed <= n:
                return n
            n = needed

    def start(self, labels: Collection[str]) -> Tally:
        """No votes yet. `labels`: every class a vote can be for, "unparsed" too where the reply is text.

        Raises UserError where the plan cannot prove anything of so many classes.
        """
        if len(set(labels)) != len(labels) or len(labels) < 2:
            raise ValueError(f"a vote has at least two different classes, not {list(labels)}")
        self.check(len(labels))
        return Tally(dict.fromkeys(labels, 0), dict.fromkeys(labels, 0))

    def add(self, tally: Tally, votes: Mapping[str, int]) -> Tally:
        """The tally with the votes of the next draws, in the order of the draws: selection first.

        Raises ValueError for an unknown label, or where the votes reach past the end of a stage of the plan.
        """
        if not votes.keys() <= tally.counts.keys() or any(count < 0 for count in votes.values()):
            raise ValueError(f"votes {dict(votes)} are not for the classes {list(tally.counts)}")
        if (drawn := sum(votes.values())) > (room := self._until_look(tally)):
            raise ValueError(f"{drawn} votes reach past the next look, {room} draws away")
        selecting = tally.n0 < self.bound.n0
        before = tally.selection if selecting else tally.counts
        after = {label: count + votes.get(label, 0) for label, count in before.items()}
        return tally._replace(selection=after) if selecting else tally._replace(counts=after)

    def step(self, tally: Tally) -> Step:
        """How many draws until the next look, or why to stop."""
        stop = self.decide(tally)
        return Step(0, stop) if stop else Step(self._until_look(tally))

    def decide(self, tally: Tally) -> Stop | None:
        """Why the plan stops at this tally; None where it goes on, as it does between looks."""
        if tally.n0 < self.bound.n0 or tally.n not in self.plan.looks:
            return None
        if isinstance(self.plan, Fixed):
            return "spent"
        radius = self.radius(tally)
        return self.plan.decide(tally.n, -math.inf if radius is None else radius, self._ceiling(tally, self.plan))

    def radius(self, tally: Tally) -> float | None:
        """Certified radius in [0, 1] pixels, rounded down; None: abstain."""
        low = self._low(tally)
        return round_down(self.sigma * low) if low > 0 else None

    def leader(self, tally: Tally) -> str:
        """The class a certificate would be for; of several with equal votes the first by name."""
        return sorted(tally.counts)[int(self.bound.top(_array(tally.counts), _array(tally.selection)))]

    def _low(self, tally: Tally) -> float:
        """In units of sigma, at the error of one look."""
        alpha = self.alpha / len(self.plan.looks)
        return float(self.bound.low(_array(tally.counts), _array(tally.selection), alpha))

    def _ceiling(self, tally: Tally, plan: Sequential) -> float:
        """What the plan can still hope to certify, in pixels, may be negative: see `Sequential`."""
        beta = plan.beta / len(plan.looks)
        high = float(self.bound.high(_array(tally.counts), _array(tally.selection), beta))
        leader = self.leader(tally)
        best = tally.counts[leader] + plan.looks[-1] - tally.n
        return self.sigma * min(high, self._low(tally._replace(counts={**tally.counts, leader: best})))

    def _until_look(self, tally: Tally) -> int:
        if tally.n0 < self.bound.n0:
            return self.bound.n0 - tally.n0
        return next((look for look in self.plan.looks if look > tally.n), tally.n) - tally.n


def parse_bound(text: str) -> Bound:
    """Read a bound's `key`: `simultaneous`, `one_class` or `one_class(100)`. Raises UserError on anything else."""
    name, bracket, rest = text.strip().partition("(")
    if text.strip() == "simultaneous":
        return Simultaneous()
    if name == "one_class" and not bracket:
        return OneClass()
    if name == "one_class" and rest.endswith(")") and rest[:-1].isdecimal():
        return OneClass(int(rest[:-1]))
    raise UserError(f"{text!r} is no bound: give simultaneous, or one_class(N0) with the number of selecting draws")


def round_down(radius: float, decimals: int = DECIMALS) -> float:
    """The largest number of so many decimals that is not above radius, less a relative 1e-9 for its arithmetic."""
    exact = Decimal(radius * (1 - _ARITHMETIC)).quantize(Decimal(1).scaleb(-decimals), ROUND_FLOOR)
    return float(exact)


def _array(votes: Mapping[str, int]) -> Counts:
    return np.array([votes[label] for label in sorted(votes)], np.int64)
