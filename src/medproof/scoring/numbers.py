"""Shares and bootstrapped statistics as the plain JSON that report.json holds: never NaN, null where undefined."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from medproof.scoring.intervals import Floats, Resamples, percentile_interval, wilson

Json = dict[str, Any]


def share(hits: Iterable[bool], name: str = "value") -> Json:
    """{name, ci95 (Wilson), n} of a plain proportion; value and interval null where n is 0."""
    flags = list(hits)
    n = len(flags)
    if n == 0:
        return {name: None, "ci95": None, "n": 0}
    k = sum(flags)
    return {name: k / n, "ci95": list(wilson(k, n)), "n": n}


def bootstrapped(
    columns: Sequence[Sequence[float]],
    statistics: dict[str, Callable[[Floats], Floats]],
    clusters: Sequence[Hashable],
    seed: int = 0,
) -> dict[str, Json]:
    """{value, ci95, n} per statistic, all from the same cluster resamples.

    `columns`: C sequences of N values. A statistic maps means (..., C) to (...); NaN means undefined. The interval is
    null below two clusters.
    """
    n = len(clusters)
    if n == 0:
        return {name: {"value": None, "ci95": None, "n": 0} for name in statistics}
    values = np.array([*columns, [1.0] * n], dtype=np.float64).T
    point = values[:, :-1].mean(axis=0)
    replicates = None
    if len(set(clusters)) > 1:
        sums = Resamples(clusters, seed=seed).sums(values)
        replicates = sums[:, :-1] / sums[:, -1:]
    result = {}
    for name, statistic in statistics.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(statistic(point))
            interval = None if replicates is None else percentile_interval(statistic(replicates))
        defined = np.isfinite(value)
        result[name] = {
            "value": value if defined else None,
            "ci95": list(interval) if interval and defined else None,
            "n": n,
        }
    return result


def distribution(answers: Iterable[str]) -> dict[str, float]:
    """Share of each answer, keys sorted; empty where there is none."""
    counts: dict[str, int] = {}
    for answer in answers:
        counts[answer] = counts.get(answer, 0) + 1
    n = sum(counts.values())
    return {answer: counts[answer] / n for answer in sorted(counts)}
