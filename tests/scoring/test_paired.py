"""Exact McNemar and Holm against scipy, closed forms and a worked example."""

import pytest
from scipy import stats

from medproof.errors import UserError
from medproof.scoring.paired import holm, mcnemar, mcnemar_p


@pytest.mark.parametrize(("b", "c"), [(0, 1), (0, 5), (3, 3), (2, 9), (10, 25), (400, 500), (3000, 2900)])
def test_mcnemar_equals_the_binomial_test(b: int, c: int) -> None:
    assert mcnemar_p(b, c) == pytest.approx(stats.binomtest(b, b + c, 0.5).pvalue, rel=1e-9)
    assert mcnemar_p(b, c) == mcnemar_p(c, b)


def test_mcnemar_closed_forms() -> None:
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(0, 6) == 2 / 2**6
    assert mcnemar_p(1, 5) == 2 * (1 + 6) / 2**6


def test_mcnemar_counts_the_discordant_items() -> None:
    a = {"w": True, "x": True, "y": False, "z": True}
    b = {"z": False, "w": True, "x": False, "y": True}
    result = mcnemar(a, b)
    assert (result.n, result.only_a, result.only_b, result.p) == (4, 2, 1, 1.0)


def test_mcnemar_refuses_other_items() -> None:
    with pytest.raises(UserError, match="'y'"):
        mcnemar({"x": True, "y": True}, {"x": True})


def test_holm_worked_by_hand() -> None:
    # Sorted .005, .01, .03, .04 times 4, 3, 2, 1 = .02, .03, .06, .04, made monotone.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
