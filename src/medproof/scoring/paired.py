"""Tests for two models, or two conditions, on the same items: exact McNemar, and Holm over the declared family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from medproof.scoring.intervals import same_items


@dataclass(frozen=True)
class McNemar:
    """`only_a`, `only_b`: items right in one arm only. `p`: exact two-sided p-value."""

    n: int
    only_a: int
    only_b: int
    p: float


def mcnemar(a: Mapping[str, bool], b: Mapping[str, bool]) -> McNemar:
    """Compare `correct` by item id. Raises UserError unless both arms hold identical item ids."""
    same_items(a, b)
    only_a = sum(a[i] and not b[i] for i in a)
    only_b = sum(b[i] and not a[i] for i in a)
    return McNemar(len(a), only_a, only_b, mcnemar_p(only_a, only_b))


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Two-sided exact binomial test of the discordant pairs against 1/2; 1.0 where there are none."""
    n, k = only_a + only_b, min(only_a, only_b)
    term = total = 1  # in exact integers: C(n, 0) + ... + C(n, k)
    for i in range(k):
        term = term * (n - i) // (i + 1)
        total += term
    return float(min(Fraction(1), Fraction(2 * total, 2**n)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values (Holm 1979) in the order given: reject those at or below the level of the family."""
    m = len(p_values)
    adjusted = [0.0] * m
    running = 0.0
    for rank, index in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        running = max(running, (m - rank) * p_values[index])
        adjusted[index] = min(1.0, running)
    return adjusted
