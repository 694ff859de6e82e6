"""Binomial bounds, and radii that hold as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri
from scipy.stats import binom
from smoothing_cases import experiments

from medproof.errors import UserError
from medproof.smoothing.bounds import Bound, OneClass, Simultaneous, lower, upper
from medproof.smoothing.plans import Fixed, Sequential

EXPERIMENTS = 100_000
ALPHA = 0.05
SLACK = 1e-6
"""A bound that errs exactly alpha of the time fails a test with this probability."""
ALLOWED = int(binom.ppf(1 - SLACK, EXPERIMENTS, ALPHA))

SHAPES = {
    "tie": (0.5, 0.5),
    "near tie": (0.34, 0.33, 0.33),
    "uniform": (0.25,) * 4,
    "spread": (0.45, 0.25, 0.2, 0.1),
    "one rival": (0.9, 0.1, 0.0, 0.0),
    "even rivals": (0.85, 0.05, 0.05, 0.05),
    "near certain": (0.999, 0.001, 0.0),
    "ten classes": (0.55, *[0.05] * 9),
}
PLANS = {"fixed": Fixed(1000), "sequential": Sequential(target=0.1, last=2048)}


def votes(*counts: int) -> np.ndarray:
    return np.array(counts, np.int64)


@pytest.mark.parametrize("n", [1, 2, 32, 1000, 10_000_000])
@pytest.mark.parametrize("alpha", [0.05, 0.001, 1e-6])
def test_closed_forms_at_none_and_all(n: int, alpha: float) -> None:
    assert lower(0, n, alpha) == 0
    assert upper(n, n, alpha) == 1
    assert lower(n, n, alpha) == pytest.approx(alpha ** (1 / n), rel=1e-12)
    assert upper(0, n, alpha) == pytest.approx(-np.expm1(np.log(alpha) / n), rel=1e-6)


def test_without_votes_nothing_is_known() -> None:
    assert (lower(0, 0, 0.1), upper(0, 0, 0.1)) == (0, 1)
    for bound in (Simultaneous(), OneClass()):
        assert bound.low(votes(0, 0, 0), votes(1, 0, 0), 0.1) == -np.inf
        assert bound.high(votes(0, 0, 0), votes(1, 0, 0), 0.1) == np.inf


@pytest.mark.parametrize(("k", "n"), [(1, 1), (1, 32), (31, 32), (500, 1000), (9999, 10_000)])
@pytest.mark.parametrize("alpha", [0.05, 0.001 / 72, 1e-9])
def test_they_solve_the_binomial_tail(k: int, n: int, alpha: float) -> None:
    """Against an arbitrary-precision tail: P(Binomial(n, lower) >= k) = alpha."""
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(40):
        tail = mpmath.betainc(k, n - k + 1, 0, mpmath.mpf(float(lower(k, n, alpha))), regularized=True)
        assert float(abs(tail / alpha - 1)) < 1e-8


def test_counts_out_of_range_are_refused() -> None:
    for k, n in ((-1, 5), (6, 5)):
        with pytest.raises(ValueError, match="between 0 and n"):
            lower(k, n, 0.05)
    with pytest.raises(UserError, match="at least 1 draw"):
        OneClass(0)


@pytest.mark.parametrize(
    ("counts", "both", "one"),
    [
        ((450, 250, 200, 100), 0.122, None),
        ((700, 100, 100, 100), 0.728, 0.395),
        ((900, 40, 30, 30), 1.289, 1.114),
        ((950, 50, 0, 0), 1.404, 1.440),
    ],
)
def test_published_values(counts: tuple[int, ...], both: float, one: float | None) -> None:
    """Units of sigma, alpha 0.001, one look; each of the 2K simultaneous bounds at alpha / 2K."""
    selected = votes(100, 0, 0, 0)
    assert Simultaneous().low(votes(*counts), selected, 0.001) == pytest.approx(both, abs=5e-4)
    got = OneClass(100).low(votes(*counts), selected, 0.001)
    assert got < 0 if one is None else got == pytest.approx(one, abs=5e-4)


def true_radii(bound: Bound, p: np.ndarray) -> np.ndarray:
    """(K,) what a bound may say of each class: its signed radius; of one class alone, Phi^-1(p)."""
    if isinstance(bound, OneClass):
        return ndtri(p)
    rival = np.array([np.delete(p, k).max() for k in range(len(p))])
    return (ndtri(p) - ndtri(rival)) / 2


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("bound", [Simultaneous(), OneClass(100)], ids=lambda bound: bound.key)
@pytest.mark.parametrize("shape", SHAPES)
def test_coverage(shape: str, bound: Bound, plan: Fixed | Sequential) -> None:
    """Over 100,000 experiments, no more than alpha are wrong at *any* look, so under any stopping rule."""
    p = np.array(SHAPES[shape])
    truth, best = true_radii(bound, p), None
    chosen, at_looks = experiments(bound, p, plan.looks, EXPERIMENTS, seed=len(shape))
    share = ALPHA / len(plan.looks)
    too_high, too_low = np.zeros(EXPERIMENTS, bool), np.zeros(EXPERIMENTS, bool)
    for counts in at_looks:
        said = truth[bound.top(counts, chosen)]
        best = said if isinstance(bound, OneClass) else truth.max()
        too_high |= bound.low(counts, chosen, share) > said
        too_low |= bound.high(counts, chosen, share) < best
    assert too_high.sum() <= ALLOWED
    assert too_low.sum() <= ALLOWED


@pytest.mark.parametrize("p", [0.6, float(ndtr(1.0)), 0.95, 0.99])
def test_uncorrected_peeking_fails_the_same_test(p: float) -> None:
    """Each of nine looks taken as if it were the only one: 12 to 22 % wrong at a nominal 5 %."""
    looks = Sequential(target=0.1, last=8192).looks
    chosen, at_looks = experiments(OneClass(1), (p, 1 - p), looks, EXPERIMENTS, seed=1)
    chosen[:] = (1, 0)
    wrong = np.zeros(EXPERIMENTS, bool)
    for counts in at_looks:
        wrong |= OneClass(100).low(counts, chosen, ALPHA) > ndtri(p)
    assert wrong.sum() > 2 * ALLOWED
    assert wrong.mean() == pytest.approx(0.17, abs=0.06)


@pytest.mark.parametrize("distance", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("bound", [Simultaneous(), OneClass(100)], ids=lambda bound: bound.key)
def test_half_space(bound: Bound, distance: float) -> None:
    """x -> [w x > b] under noise: the true radius is the distance to the plane. Never exceeded, and approached."""
    dimensions, n, sigma = 6, 200_000, 0.5
    gap = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        w = rng.normal(size=dimensions)
        x = rng.normal(size=dimensions)
        b = w @ x - distance * sigma * np.linalg.norm(w)
        inside = (x + sigma * rng.standard_normal((bound.n0 + n, dimensions))) @ w > b
        first, rest = inside[: bound.n0].sum(), inside[bound.n0 :].sum()
        low = bound.low(votes(rest, n - rest), votes(first, bound.n0 - first), 0.001)
        gap.append(distance - float(low))
    assert min(gap) > 0
    assert max(gap) < 0.06
    closer = distance - bound.low(votes(*(int(1e9 * q) for q in (ndtr(distance), ndtr(-distance)))), votes(1, 0), 0.001)
    assert 0 < closer < 1e-3


COUNTS = st.lists(st.integers(0, 500), min_size=2, max_size=6).filter(lambda counts: sum(counts) > 0)


@given(COUNTS, st.sampled_from([0.05, 0.001, 1e-5]))
def test_never_above_the_radius_of_known_probabilities(counts: list[int], alpha: float) -> None:
    """If the shares were the probabilities, the certificate would still be right: low <= R <= high."""
    row = votes(*counts)
    p = row / row.sum()
    for bound in (Simultaneous(), OneClass(1)):
        known = true_radii(bound, p)[bound.top(row, row)]
        assert bound.low(row, row, alpha) <= known <= bound.high(row, row, alpha)


@given(COUNTS, st.data())
def test_a_vote_more_for_the_leader_never_hurts(counts: list[int], data: st.DataObject) -> None:
    row = votes(*counts)
    leader = int(row.argmax())
    others = [k for k in range(len(row)) if k != leader and row[k]]
    more = row.copy()
    more[leader] += 1
    if others and data.draw(st.booleans()):
        more[data.draw(st.sampled_from(others))] -= 1
    for bound in (Simultaneous(), OneClass(1)):
        assert bound.low(more, row, 0.001) >= bound.low(row, row, 0.001)
        assert bound.high(more, row, 0.001) >= bound.high(row, row, 0.001) or more.sum() > row.sum()


@given(COUNTS)
def test_at_most_one_class_is_certified(counts: list[int]) -> None:
    """Simultaneous: whichever class is moved to the front of a tie, none but the leader can have a positive radius."""
    row = votes(*counts)
    level = 0.05 / (2 * len(row))
    low, high = lower(row, row.sum(), level), upper(row, row.sum(), level)
    sure = [k for k in range(len(row)) if low[k] > min(np.delete(high, k).max(), 1 - low[k])]
    positive = Simultaneous().low(row, row, 0.05) > 0
    assert sure == ([int(row.argmax())] if positive else [])
