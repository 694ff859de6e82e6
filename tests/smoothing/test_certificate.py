"""Votes to certificates: pure, at looks only, rounded down; bad schemes are refused with the number that is needed."""

from __future__ import annotations

import math
from decimal import Decimal
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.optimize import brentq
from scipy.stats import binom
from smoothing_cases import LABELS, as_votes, tally_of_votes, walk

from medproof.errors import UserError
from medproof.records import Certificate
from medproof.smoothing.bounds import Bound, OneClass, Simultaneous
from medproof.smoothing.certificate import certify, grey_level_rms, replay, scheme_of, tally_of
from medproof.smoothing.plans import Fixed, Plan, Sequential
from medproof.smoothing.scheme import DECIMALS, Scheme, Tally, parse_bound, round_down

SCHEMES = (
    Scheme(0.25, 0.001, Simultaneous(), Fixed(500)),
    Scheme(0.5, 0.01, OneClass(50), Fixed(500)),
    Scheme(0.25, 0.001, Simultaneous(), Sequential(target=0.1, last=512)),
    Scheme(0.25, 0.001, OneClass(20), Sequential(precision=0.05, first=10, last=300)),
)
every_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: f"{s.bound.key}-{s.plan.key}")
SHAPES = [(0.9, 0.05, 0.05), (0.4, 0.3, 0.3), (0.999, 0.001, 0.0)]


def cohen_algorithm_1(selection: list[int], counts: list[int], sigma: float, alpha: float) -> tuple[int, float] | None:
    """CERTIFY of Cohen et al. 2019, written from the paper: the class and its radius, None for ABSTAIN."""
    chosen, n = int(np.argmax(selection)), sum(counts)
    hits = counts[chosen]
    bound = 0.0 if hits == 0 else brentq(lambda p: binom.sf(hits - 1, n, p) - alpha, 1e-12, 1 - 1e-15, xtol=1e-15)
    return (chosen, sigma * NormalDist().inv_cdf(bound)) if bound > 0.5 else None


@given(st.lists(st.integers(0, 300), min_size=2, max_size=5), st.integers(0, 4), st.sampled_from([0.05, 0.001]))
def test_one_class_is_the_published_algorithm(counts: list[int], chosen: int, alpha: float) -> None:
    counts[0] += 1
    selection = [40 if k == chosen % len(counts) else 1 for k in range(len(counts))]
    scheme = Scheme(0.5, alpha, OneClass(sum(selection)), Fixed(sum(counts)))
    ours = certify(scheme, "i", tally_of_votes(counts, selection))
    theirs = cohen_algorithm_1(selection, counts, 0.5, alpha)
    if theirs is None:
        assert (ours.predicted, ours.radius) == (None, 0.0)
    else:
        assert ours.predicted == LABELS[theirs[0]]
        assert 0 <= theirs[1] - ours.radius < 1e-6 + 1e-8


@every_scheme
@pytest.mark.parametrize("p", SHAPES)
def test_a_pure_function_of_what_is_stored(scheme: Scheme, p: tuple[float, ...]) -> None:
    certificate = certify(scheme, "item", walk(scheme, p, np.random.default_rng(0)))
    again = Certificate.from_json(certificate.to_json())
    assert again == certificate
    assert scheme_of(again) == scheme
    assert certify(scheme_of(again), "item", tally_of(again)) == certificate
    assert certificate.stop in ("proven", "hopeless", "precise", "spent")


@every_scheme
@given(seed=st.integers(0, 50), pieces=st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_however_the_draws_are_cut(scheme: Scheme, seed: int, pieces: list[int]) -> None:
    """Batches of any size, cut at the looks as `step` asks, give the certificate of one vote after the other."""
    votes = [LABELS[k] for k in np.random.default_rng(seed).choice(3, 600, p=(0.7, 0.2, 0.1))]
    tally, used, turn = scheme.start("ABC"), 0, 0
    while (step := scheme.step(tally)).draws:
        size = min(step.draws, pieces[turn % len(pieces)])
        part = votes[used : used + size]
        tally = scheme.add(tally, {label: part.count(label) for label in "ABC"})
        used, turn = used + size, turn + 1
    assert certify(scheme, "i", tally) == replay(scheme, "i", "ABC", votes)


def test_a_plan_cut_short_gives_its_last_look() -> None:
    scheme = Scheme(0.25, plan=Sequential(target=0.6))
    cut = replay(scheme, "i", "AB", ["A"] * 100)
    assert (cut.n, cut.stop, cut.predicted) == (64, "open", "A")
    assert cut.radius > 0
    with pytest.raises(ValueError, match="needs 32"):
        replay(scheme, "i", "AB", ["A"] * 31)


def test_no_certificate_between_looks_and_no_votes_past_them() -> None:
    scheme = Scheme(0.25, bound=OneClass(10), plan=Sequential(target=0.1))
    with pytest.raises(ValueError, match="no look"):
        certify(scheme, "i", tally_of_votes([40, 0], [10, 0]))
    with pytest.raises(ValueError, match="no look"):
        certify(scheme, "i", tally_of_votes([32, 0], [9, 0]))
    with pytest.raises(ValueError, match="reach past the next look, 10 draws away"):
        scheme.add(scheme.start("AB"), {"A": 11})
    with pytest.raises(ValueError, match="not for the classes"):
        scheme.add(scheme.start("AB"), {"C": 1})
    with pytest.raises(ValueError, match="at least two different classes"):
        scheme.start(["A", "A"])


def test_a_tie_abstains() -> None:
    for bound in (Simultaneous(), OneClass(2)):
        scheme = Scheme(1.0, 0.5, bound, Fixed(1000))
        tie = certify(scheme, "i", tally_of_votes([500, 500], [1, 1] if bound.n0 else None))
        assert (tie.predicted, tie.radius) == (None, 0.0)


@every_scheme
@given(order=st.permutations(range(4)), seed=st.integers(0, 200))
def test_names_and_order_of_the_classes_do_not_matter(scheme: Scheme, order: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = scheme.plan.looks[-1]
    counts = rng.multinomial(n, (0.6, 0.2, 0.1, 0.1))
    chosen = rng.multinomial(max(scheme.bound.n0 - 4, 0), (1.0, 0, 0, 0)) + (scheme.bound.n0 > 0)
    here = certify(scheme, "i", tally_of_votes([*map(int, counts)], [*map(int, chosen)]))
    moved = Tally(
        {f"option {order[k]}": int(counts[k]) for k in range(4)},
        {f"option {order[k]}": int(chosen[k]) for k in range(4)},
    )
    there = certify(scheme, "i", moved)
    assert (here.radius, here.stop) == (there.radius, there.stop)
    assert there.predicted == (here.predicted and f"option {order[LABELS.index(here.predicted)]}")


@given(st.floats(0, 20), st.integers(0, 8))
def test_rounding_is_never_up(radius: float, decimals: int) -> None:
    rounded = round_down(radius, decimals)
    assert rounded <= radius
    assert Decimal(rounded) <= Decimal(radius)
    assert radius - rounded < 10**-decimals + 1e-8 * radius
    assert math.isclose(rounded * 10**decimals, round(rounded * 10**decimals), abs_tol=1e-6)


def test_a_certificate_is_rounded_to_the_decimals_it_says() -> None:
    certificate = certify(Scheme(1.0), "i", tally_of_votes([700, 100, 100, 100]))
    exact = float(Simultaneous().low(np.array([700, 100, 100, 100]), np.zeros(4, int), 0.001))
    assert certificate.radius == math.floor(exact * 10**DECIMALS) / 10**DECIMALS


@pytest.mark.parametrize("bound", [Simultaneous(), OneClass(1)], ids=lambda bound: bound.key)
@pytest.mark.parametrize(
    "plan", [Fixed(1), Sequential(target=0.0, first=4), Sequential(target=0.4)], ids=lambda p: p.key
)
@pytest.mark.parametrize("classes", [2, 5])
def test_the_number_needed_is_the_number_needed(bound: Bound, plan: Plan, classes: int) -> None:
    """Votes that all agree reach the aim with that many draws, and with no fewer."""

    def reached(n: int) -> bool:
        longest = Fixed(n) if isinstance(plan, Fixed) else Sequential(plan.target, None, plan.first, n)
        scheme = Scheme(0.25, 0.001, bound, longest)
        radius = scheme.radius(tally_of_votes([n, *[0] * (classes - 1)], [bound.n0, *[0] * (classes - 1)]))
        return radius is not None and radius >= scheme.target

    needed = Scheme(0.25, 0.001, bound, plan).draws_needed(classes)
    assert reached(int(needed))
    first = 1 if isinstance(plan, Fixed) else plan.first
    assert not any(reached(n) for n in range(first, int(needed)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scheme(0.0), "sigma is a positive number"),
        (lambda: Scheme(-1.0), "sigma is a positive number"),
        (lambda: Scheme(math.nan), "sigma is a positive number"),
        (lambda: Scheme(0.5, 0.0), "alpha lies between 0 and 1"),
        (lambda: Scheme(0.5, 1.0), "alpha lies between 0 and 1"),
        (lambda: Scheme(0.5, plan=Fixed(12)).start("ABCD"), r"12 draws can never leave abstention.*at least 13$"),
        (
            lambda: Scheme(0.5, plan=Sequential(target=1.0, last=64)).start("AB"),
            r"64 draws can never certify a radius of 1 at sigma 0\.5, .*draw at least 431",
        ),
        (lambda: Scheme(0.01, plan=Sequential(target=1.0)).start("AB"), "choose a larger sigma or a smaller target"),
        (lambda: parse_bound("clopper"), "no bound"),
        (lambda: parse_bound("one_class()"), "no bound"),
        (lambda: parse_bound("one_class(0)"), "at least 1 draw"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(make, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        make()
    assert "\n" not in str(raised.value)


def test_bounds_read_back() -> None:
    assert parse_bound("simultaneous") == Simultaneous()
    assert parse_bound("one_class") == OneClass(100)
    assert parse_bound(OneClass(7).key) == OneClass(7)


def test_size_in_grey_levels() -> None:
    assert grey_level_rms(1.0, (448, 448, 3)) == pytest.approx(0.3286, abs=1e-4)
    change = np.random.default_rng(0).normal(size=(28, 56, 3))
    change *= 0.7 / np.linalg.norm(change)
    assert grey_level_rms(0.7, change.shape) == pytest.approx(255 * np.sqrt(np.mean(change**2)))


@pytest.mark.parametrize(
    "changes", [{"n": 999}, {"n0": 1}, {"predicted": None}, {"predicted": "E"}, {"radius": -0.1}], ids=str
)
def test_a_record_that_contradicts_itself_is_refused(changes: dict) -> None:
    values = certify(Scheme(1.0), "i", tally_of_votes([700, 100, 100, 100])).model_dump()
    with pytest.raises(ValidationError):
        Certificate(**{**values, **changes})


def test_votes_are_read_by_label() -> None:
    scheme = Scheme(0.5, plan=Fixed(20), alpha=0.05)
    tally = scheme.add(scheme.start(["no finding", "cyst"]), {"cyst": 20})
    assert certify(scheme, "i", tally).predicted == "cyst"
    assert as_votes([1, 2]) == {"A": 1, "B": 2}
