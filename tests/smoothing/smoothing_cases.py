"""Votes and schemes that several tests share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medproof.smoothing.bounds import Bound, Counts
from medproof.smoothing.scheme import Scheme, Tally

LABELS = "ABCDEFGHIJ"


def tally_of_votes(votes: Sequence[int], selection: Sequence[int] | None = None) -> Tally:
    """Counts for A, B, C, ... and those of the selection draw."""
    labels = LABELS[: len(votes)]
    return Tally(dict(zip(labels, votes)), dict(zip(labels, selection or [0] * len(votes))))


def walk(scheme: Scheme, p: Sequence[float], rng: np.random.Generator) -> Tally:
    """Draw votes of probabilities p until the plan stops."""
    labels = LABELS[: len(p)]
    tally = scheme.start(labels)
    while (step := scheme.step(tally)).draws:
        tally = scheme.add(tally, as_votes(rng.multinomial(step.draws, p)))
    return tally


def as_votes(row: Sequence[int]) -> Mapping[str, int]:
    return {label: int(count) for label, count in zip(LABELS, row)}


def experiments(
    bound: Bound, p: Sequence[float], looks: Sequence[int], size: int, seed: int
) -> tuple[Counts, list[Counts]]:
    """`size` experiments: votes of the selection draw (size, K), and those at each look, kept from look to look."""
    rng = np.random.default_rng(seed)
    chosen = rng.multinomial(bound.n0, p, size)
    counts, at_looks, n = np.zeros((size, len(p)), np.int64), [], 0
    for look in looks:
        counts = counts + rng.multinomial(look - n, p, size)
        at_looks.append(counts)
        n = look
    return chosen, at_looks
