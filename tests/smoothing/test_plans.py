"""Plans: their looks, their text, when they stop, and how few votes that takes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from smoothing_cases import tally_of_votes, walk

from medproof.errors import UserError
from medproof.smoothing.bounds import OneClass
from medproof.smoothing.plans import Fixed, Plan, Sequential, parse_plan
from medproof.smoothing.scheme import Scheme

MIX = ((0.45, 0.999), (0.20, 0.99), (0.10, 0.97), (0.10, 0.9), (0.10, 0.6), (0.05, 0.3))
"""(share of the items, probability of the leading class): the mix of METRICS."""


def test_looks_double_and_end_at_the_last() -> None:
    assert Sequential(target=1.0).looks == (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
    assert Sequential(target=1.0, first=10, last=35).looks == (10, 20, 35)
    assert Sequential(target=1.0, first=7, last=7).looks == (7,)
    assert Fixed(99).looks == (99,)


@pytest.mark.parametrize(
    "plan",
    [
        Fixed(7),
        Sequential(target=0.1 + 0.2),
        Sequential(target=0.0, first=8, last=100, beta=1e-5),
        Sequential(precision=0.05),
    ],
    ids=lambda plan: plan.key,
)
def test_text_and_back(plan: Plan) -> None:
    assert parse_plan(plan.key) == plan


def test_defaults_may_be_left_out() -> None:
    assert parse_plan("sequential(target=0.25)") == Sequential(target=0.25)
    assert parse_plan(" fixed( 1000 ) ") == Fixed(1000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fixed",
        "fixed(x)",
        "fixed(1.5)",
        "fixed(1,2)",
        "sequential(0.25)",
        "sequential(target=x)",
        "sequential(target=0.1,n=3)",
        "sequential(target=0.1,first=1.5)",
        "greedy(3)",
    ],
)
def test_other_text_is_no_plan(text: str) -> None:
    with pytest.raises(UserError, match=r"is no plan: a plan is fixed\(N\)"):
        parse_plan(text)


@pytest.mark.parametrize(
    "text",
    [
        "fixed(0)",
        "sequential(first=8)",
        "sequential(target=1,precision=1)",
        "sequential(target=-1)",
        "sequential(target=nan)",
        "sequential(target=inf)",
        "sequential(precision=0)",
        "sequential(target=1,first=0)",
        "sequential(target=1,first=9,last=8)",
        "sequential(target=1,beta=0)",
    ],
)
def test_a_plan_that_cannot_be_carried_out_says_why(text: str) -> None:
    with pytest.raises(UserError, match=r"plan (draws|has one|is a|needs)|target of|precision of|beta lies"):
        parse_plan(text)


def test_decisions() -> None:
    aim = Sequential(target=0.5, last=64)
    assert aim.decide(32, 0.5, 9.0) == "proven"
    assert aim.decide(32, 0.4, 0.6) is None
    assert aim.decide(64, 0.4, 0.6) == "spent"
    assert aim.decide(32, 0.4, 0.49) == "hopeless"
    answer = Sequential(target=0.0, last=64)
    assert answer.decide(32, -math.inf, 0.1) is None
    assert answer.decide(32, -math.inf, 0.0) == "hopeless"
    assert answer.decide(32, 0.0, 0.1) == "proven"
    width = Sequential(precision=0.1, last=64)
    assert width.decide(32, 0.4, 0.51) is None
    assert width.decide(32, 0.4, 0.5) == "precise"
    assert width.decide(32, -math.inf, 0.1) == "precise"
    assert width.decide(32, -math.inf, -0.1) == "hopeless"


def test_gives_up_when_even_unanimous_votes_come_too_late() -> None:
    """Half the votes of the plan are in and the share is the target's own: no confidence bound excludes it, sums do."""
    scheme = Scheme(1.0, plan=Sequential(target=1.0, first=32, last=64))
    even = tally_of_votes([28, 4])
    high = float(scheme.bound.high(np.array([28, 4]), np.array([0, 0]), 0.001 / 2))
    assert high > 1.0
    assert scheme.decide(even) == "hopeless"
    best = tally_of_votes([28 + 32, 4])
    assert scheme.radius(best) is None or scheme.radius(best) < 1.0


@pytest.mark.parametrize(("ratio", "reference"), [(0.5, 100), (1.0, 146), (2.0, 1490)])
def test_reference_means(ratio: float, reference: float) -> None:
    """METRICS, of a decision R >= r at alpha = beta = 0.001; without the votes that choose the class.

    What is left of the votes is spread over three rivals. The items near the target decide the mean: more of them.
    """
    scheme, rng = Scheme(0.5, 0.001, OneClass(100), Sequential(target=ratio * 0.5)), np.random.default_rng(0)
    mean = 0.0
    for share, p in MIX:
        walks = 150 if abs(p - ndtr(ratio)) < 0.1 else 30
        mean += share * float(np.mean([walk(scheme, (p, *[(1 - p) / 3] * 3), rng).n for _ in range(walks)]))
    assert mean == pytest.approx(reference, rel=0.15)
    assert mean < {0.5: 10_000 / 50, 1.0: 10_000 / 50, 2.0: 10_000 / 5}[ratio]


def test_where_rivals_share_the_rest_only_the_simultaneous_bound_proves_it() -> None:
    """Votes 60 / 13 / 13 / 13 %: R = 0.68 sigma, but Phi^-1(0.6) = 0.25."""
    plan, rng = Sequential(target=0.25), np.random.default_rng(0)
    p = (0.6, *[0.4 / 3] * 3)
    both, one = Scheme(0.5, plan=plan), Scheme(0.5, bound=OneClass(100), plan=plan)
    assert both.decide(walk(both, p, rng)) == "proven"
    assert one.decide(walk(one, p, rng)) == "hopeless"


def test_precision_is_reached() -> None:
    scheme = Scheme(0.5, plan=Sequential(precision=0.1))
    rng = np.random.default_rng(0)
    for p in ((0.7, 0.1, 0.1, 0.1), (0.55, 0.45), (0.9, 0.1)):
        tally = walk(scheme, p, rng)
        assert scheme.decide(tally) == "precise"
        true = scheme.sigma / 2 * (ndtri(p[0]) - ndtri(p[1]))
        assert true - 0.1 <= (scheme.radius(tally) or 0.0) <= true
