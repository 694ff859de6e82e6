"""Confidence intervals: Wilson for plain proportions, the cluster bootstrap over u(i) for everything else.

u(i) = `Item.cluster`: patient, else study, else image. Whole clusters are drawn with replacement, so questions about
one patient are never taken for independent ones.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from math import sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from medproof.errors import UserError

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]
B = 2000
CONFIDENCE = 0.95
_CHUNK = 4_000_000
_KEPT = 24_000_000
"""Largest b x G of which the draws are kept from call to call, at two bytes each."""


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Score interval of a proportion (Wilson 1927); (0, 1) where n is 0.

    Raises ValueError unless 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At the ends the closed form is exact; rounding must not move it off 0 or 1.
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == n else (centre + half) / scale
    return low, high


def mean(values: Floats) -> float:
    """The default statistic; `cluster_bootstrap` knows it and takes a fast way."""
    return float(values.mean())


class Resamples:
    """B draws of G clusters with replacement out of G, fixed by `seed` and the clusters alone.

    Everything computed from one object uses the same draws, as paired differences need. Clusters are numbered in
    order of first appearance. Raises ValueError where there are fewer than two clusters: nothing could vary.
    """

    def __init__(self, clusters: Sequence[Hashable], b: int = B, seed: int = 0) -> None:
        numbers: dict[Hashable, int] = {}
        self.labels = np.fromiter((numbers.setdefault(c, len(numbers)) for c in clusters), np.intp, len(clusters))
        self.n_clusters = len(numbers)
        if self.n_clusters < 2:
            raise ValueError(f"a cluster bootstrap needs at least two clusters, not {self.n_clusters}")
        self.b = b
        self.seed = seed

    def sums(self, columns: npt.ArrayLike) -> Floats:
        """(N, C) values -> (B, C) sums over the items of each resample. A column of ones gives the resampled n."""
        values = np.asarray(columns, dtype=np.float64)
        totals = np.zeros((self.n_clusters, values.shape[1]))
        np.add.at(totals, self.labels, values)
        g = self.n_clusters
        kept = _kept_times(g, self.b, self.seed) if self.b * g <= _KEPT and g <= np.iinfo(np.uint16).max else None
        times = (_times_drawn(drawn, g) for drawn in self._draws()) if kept is None else kept
        return np.concatenate([rows.astype(np.float64) @ totals for rows in times])

    def indices(self) -> Iterator[npt.NDArray[np.intp]]:
        """Per resample the indices of its items."""
        order = np.argsort(self.labels, kind="stable")
        members = np.split(order, np.cumsum(np.bincount(self.labels))[:-1])
        for drawn in self._draws():
            for row in drawn:
                yield np.concatenate([members[cluster] for cluster in row])

    def _draws(self) -> Iterator[npt.NDArray[np.int32]]:
        return _draw(self.n_clusters, self.b, self.seed)


def _draw(g: int, b: int, seed: int) -> Iterator[npt.NDArray[np.int32]]:
    """Numbers of the clusters drawn, (rows, G) at a time so that memory stays bounded, B rows in all."""
    rng = np.random.Generator(np.random.PCG64(seed))
    rows = max(1, min(b, _CHUNK // g))
    for start in range(0, b, rows):
        yield rng.integers(g, size=(min(rows, b - start), g), dtype=np.int32)


def _times_drawn(drawn: npt.NDArray[np.int32], g: int) -> npt.NDArray[np.intp]:
    """(rows, G) numbers drawn -> (rows, G) times each number was drawn."""
    rows = len(drawn)
    flat = (drawn + np.arange(rows, dtype=np.int64)[:, None] * g).ravel()
    return np.bincount(flat, minlength=rows * g).reshape(rows, g)


@lru_cache(maxsize=4)
def _kept_times(g: int, b: int, seed: int) -> tuple[npt.NDArray[np.uint16], ...]:
    """All of `_times_drawn` of one number of clusters: a report asks for the same draws under every condition."""
    return tuple(_times_drawn(drawn, g).astype(np.uint16) for drawn in _draw(g, b, seed))


def percentile_interval(replicates: Floats, confidence: float = CONFIDENCE) -> Interval | None:
    """Central interval of bootstrap replicates (B,). Undefined ones (NaN) are left out; None where all are."""
    defined = replicates[np.isfinite(replicates)]
    if defined.size == 0:
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def cluster_bootstrap(
    values: npt.ArrayLike,
    clusters: Sequence[Hashable],
    statistic: Callable[[Floats], float] = mean,
    B: int = B,  # noqa: N803 - the field's name
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Percentile interval of `statistic` over `values` (N,), resampling whole clusters (N labels).

    Raises UserError where lengths differ, ValueError below two clusters or where the statistic is never defined.
    """
    array = np.asarray(values, dtype=np.float64)
    if len(array) != len(clusters):
        raise UserError(f"{len(array)} values but {len(clusters)} clusters: give one cluster per value")
    draws = Resamples(clusters, B, seed)
    if statistic is mean:
        sums = draws.sums(np.column_stack([array, np.ones(len(array))]))
        replicates = sums[:, 0] / sums[:, 1]
    else:
        replicates = np.array([statistic(array[chosen]) for chosen in draws.indices()])
    interval = percentile_interval(replicates, confidence)
    if interval is None:
        raise ValueError("the statistic is undefined on every resample")
    return interval


def paired_difference(
    a: Mapping[str, float],
    b: Mapping[str, float],
    clusters: Mapping[str, Hashable],
    B: int = B,  # noqa: N803 - the field's name
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> tuple[float, float, float]:
    """mean(a) - mean(b) and its interval, both arms from the same resamples. All three map item id -> value.

    Raises UserError unless both arms hold exactly the same item ids, each with a cluster.
    """
    same_items(a, b)
    ids = sorted(a)
    if any(item_id not in clusters for item_id in ids):
        raise UserError("some items have no cluster: give Item.cluster for every item id")
    values = np.array([[a[i], b[i], 1.0] for i in ids])
    sums = Resamples([clusters[i] for i in ids], B, seed).sums(values)
    interval = percentile_interval((sums[:, 0] - sums[:, 1]) / sums[:, 2], confidence)
    assert interval is not None  # every resample holds at least one item
    return float((values[:, 0] - values[:, 1]).mean()), *interval


def same_items(a: Mapping[str, object], b: Mapping[str, object]) -> None:
    """Raises UserError, with an example, unless both hold the same non-empty set of item ids."""
    if not a or not b:
        raise UserError("nothing to compare: at least one side holds no scored item")
    if a.keys() != b.keys():
        only_a, only_b = len(a.keys() - b.keys()), len(b.keys() - a.keys())
        example = min(a.keys() ^ b.keys())
        raise UserError(
            f"the two sides hold different items ({only_a} only in the first, {only_b} only in the second, e.g. "
            f"{example!r}): compare runs over the same items"
        )
