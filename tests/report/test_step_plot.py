"""Curves over steps: ticks, thinning, and where a point lies."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medproof.report.step_plot import MAX_POINTS, Line, binned, nice_ticks, step_plot

FINITE = st.floats(-1e6, 1e6)


@settings(deadline=None)
@given(FINITE, FINITE)
def test_ticks_enclose_the_values_in_few_equal_steps(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    ticks = nice_ticks(low, high)
    slack = 1e-6 * max(1e-9, abs(low), abs(high))
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= 6
    gaps = [b - a for a, b in pairwise(ticks)]
    assert gaps == pytest.approx([gaps[0]] * len(gaps), rel=1e-3)
    assert gaps[0] > 0


def test_ticks_of_known_ranges() -> None:
    assert nice_ticks(0.0, 1.0) == [0.0, 0.5, 1.0]
    assert nice_ticks(-0.3, 0.2) == [-0.4, -0.2, 0.0, 0.2]
    assert nice_ticks(1.0, 1.0) == [0.5, 1.0]
    assert nice_ticks(0.0, 0.0) == [0.0, 0.5]


def test_thinning_keeps_the_mean_and_stays_within_bounds() -> None:
    points = [(float(step), float(step % 7)) for step in range(1, 1001)]
    thin = binned(points)
    assert len(thin) == MAX_POINTS
    assert sum(y for _, y in thin) / len(thin) == pytest.approx(sum(y for _, y in points) / len(points))
    assert binned(points[:MAX_POINTS]) == tuple(points[:MAX_POINTS])


def test_points_lie_where_they_should() -> None:
    text = str(
        step_plot("s", "Title", [Line("a", ((0.0, 0.0), (50.0, 1.0), (100.0, 0.5)), "run0", dots=True)], share=True)
    )
    drawn = re.search(r'points="([^"]+)"', text)
    assert drawn
    xy = [tuple(map(float, pair.split(","))) for pair in drawn[1].split()]
    assert [x for x, _ in xy] == [0, 500, 1000]
    bottom, top, middle = (y for _, y in xy)
    assert top < middle < bottom
    assert middle == pytest.approx((top + bottom) / 2)
    assert text.count("<circle") == 3
    assert "a: 0\u00a0% at first, 50\u00a0% at step 100" in text
