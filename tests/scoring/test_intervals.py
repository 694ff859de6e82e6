"""Intervals against scipy, closed forms and a coverage simulation."""

import numpy as np
import pytest
from scipy import stats

from medproof.errors import UserError
from medproof.scoring.intervals import Resamples, cluster_bootstrap, paired_difference, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 20), (20, 20), (3, 10), (50, 100), (997, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_wilson_equals_scipy(k: int, n: int, confidence: float) -> None:
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert wilson(k, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_ends() -> None:
    z2 = stats.norm.ppf(0.975) ** 2
    assert wilson(10, 10) == pytest.approx((10 / (10 + z2), 1.0))
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 successes of 2"):
        wilson(3, 2)


def test_bootstrap_of_single_items_has_the_normal_width() -> None:
    values = np.random.default_rng(0).normal(size=400)
    low, high = cluster_bootstrap(values, range(400), B=4000, seed=1)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_repeating_items_inside_their_cluster_does_not_narrow_the_interval() -> None:
    values = np.random.default_rng(0).normal(size=50)
    once = cluster_bootstrap(values, range(50))
    fourfold = cluster_bootstrap(np.repeat(values, 4), np.repeat(np.arange(50), 4).tolist())
    assert fourfold == pytest.approx(once)
    naive = cluster_bootstrap(np.repeat(values, 4), range(200))
    assert naive[1] - naive[0] < 0.6 * (once[1] - once[0])


def test_any_statistic_from_the_same_draws() -> None:
    values = np.random.default_rng(0).normal(size=60)
    clusters = (np.arange(60) // 3).tolist()
    slow = cluster_bootstrap(values, clusters, lambda v: float(v.sum() / v.size), B=300)
    assert slow == pytest.approx(cluster_bootstrap(values, clusters, B=300))
    low, high = cluster_bootstrap(values, clusters, lambda v: float(np.median(v)), B=300)
    assert low < np.median(values) < high


def test_seeded() -> None:
    values, clusters = [0.0, 1.0, 1.0, 0.0, 1.0], list("aabbc")
    assert cluster_bootstrap(values, clusters, seed=3) == cluster_bootstrap(values, clusters, seed=3)
    sums = [Resamples(range(40), 50, seed).sums(np.arange(40.0)[:, None]) for seed in (3, 4)]
    assert not np.array_equal(*sums)


def test_sums_draw_as_many_clusters_as_there_are() -> None:
    sums = Resamples(range(7), 100, 0).sums(np.ones((7, 1)))
    assert sums.shape == (100, 1)
    assert (sums == 7).all()


def test_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for trial in range(200):
        clusters = np.repeat(np.arange(40), rng.integers(1, 5, 40))
        values = (rng.normal(size=40)[clusters] + rng.normal(size=len(clusters))) + 0.3
        low, high = cluster_bootstrap(values, clusters.tolist(), B=400, seed=trial)
        hits += low <= 0.3 <= high
    assert 0.88 <= hits / 200 <= 0.98  # 0.95 less the known shortfall of 40 clusters, and simulation error


def test_bootstrap_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="at least two clusters"):
        cluster_bootstrap([1.0, 0.0], ["a", "a"])
    with pytest.raises(UserError, match="3 values but 2 clusters"):
        cluster_bootstrap([1.0, 0.0, 1.0], ["a", "b"])
    with pytest.raises(ValueError, match="undefined"):
        cluster_bootstrap([1.0, 0.0], ["a", "b"], lambda v: float("nan"), B=10)


def test_paired_difference_cancels_what_both_arms_share() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(size=100)
    a = {f"i{n}": float(h + 0.5) for n, h in enumerate(hard)}
    b = {f"i{n}": float(h) for n, h in enumerate(hard)}
    clusters = {f"i{n}": n // 2 for n in range(100)}
    assert paired_difference(a, b, clusters) == pytest.approx((0.5, 0.5, 0.5))
    assert paired_difference(b, a, clusters)[0] == pytest.approx(-0.5)


def test_paired_difference_does_not_depend_on_order() -> None:
    a = {"x": 1.0, "y": 0.0, "z": 1.0}
    b = {"z": 0.0, "x": 1.0, "y": 0.0}
    clusters = {"y": "p", "x": "q", "z": "q"}
    assert paired_difference(a, b, clusters) == paired_difference(
        dict(sorted(a.items())), dict(sorted(b.items())), clusters
    )
    assert paired_difference(a, b, clusters)[0] == pytest.approx(1 / 3)


@pytest.mark.parametrize(("a", "b"), [({"x": 1.0}, {"y": 1.0}), ({"x": 1.0, "y": 0.0}, {"x": 1.0}), ({}, {})])
def test_other_items_in_the_other_arm_are_refused(a: dict[str, float], b: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"different items|nothing to compare"):
        paired_difference(a, b, {"x": 1, "y": 2})


def test_kept_draws_give_the_sums_of_fresh_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeping the draws between calls changes time alone; both ways equal the sums over `indices`."""
    clusters = [number % 7 for number in range(40)]
    values = np.random.default_rng(0).normal(size=(40, 3))
    kept = [Resamples(clusters, b=50, seed=3).sums(values) for _ in range(2)]
    monkeypatch.setattr("medproof.scoring.intervals._KEPT", 0)
    fresh = Resamples(clusters, b=50, seed=3)
    assert all(np.array_equal(sums, fresh.sums(values)) for sums in kept)
    np.testing.assert_allclose(kept[0], [values[chosen].sum(axis=0) for chosen in fresh.indices()])
    assert not np.array_equal(kept[0], Resamples(clusters, b=50, seed=4).sums(values))
