"""Confidence bounds on the radius of a smoothed classifier, from votes alone.

Under Gaussian noise of standard deviation sigma, let p_c be the probability that the base classifier votes for class c,
and p_A > p_B its two largest values. The smoothed classifier answers A, and goes on answering A inside the L2 ball of
radius R = sigma/2 (Phi^-1(p_A) - Phi^-1(p_B)) around the image (Cohen, Rosenfeld & Kolter 2019, arXiv:1902.02918,
Theorem 1). The base classifier may be random itself: p_c then counts its randomness too.

Radii here are in units of sigma and signed; only a positive lower bound proves anything. Votes are arrays of counts
[..., K]: all K classes, zeros too, and "unparsed" where it is one. Needs NumPy and SciPy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtri

from medproof.errors import UserError

Counts = npt.NDArray[np.int64]
Indices = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]


def lower(successes: npt.ArrayLike, n: npt.ArrayLike, alpha: float) -> Floats:
    """Largest p (Clopper & Pearson 1934) with P(Binomial(n, p) >= successes) <= alpha, elementwise; 0 at 0 successes.

    The true probability is below it with probability at most alpha.
    """
    k, of = np.broadcast_arrays(np.asarray(successes, np.int64), np.asarray(n, np.int64))
    if np.any(k < 0) or np.any(k > of):
        raise ValueError("successes lie between 0 and n")
    # Each distinct pair is inverted once: the inversion takes microseconds, and simulations ask for millions.
    width = int(of.max(initial=0)) + 1
    pairs, where = np.unique(k * width + of, return_inverse=True)
    hits, draws = pairs // width, pairs % width
    bound = np.where(hits == 0, 0.0, betaincinv(np.maximum(hits, 1), draws - hits + 1, alpha))
    return np.asarray(bound[where].reshape(k.shape), np.float64)


def upper(successes: npt.ArrayLike, n: npt.ArrayLike, alpha: float) -> Floats:
    """Smallest p with P(Binomial(n, p) <= successes) <= alpha; 1 where all n are successes. The mirror of `lower`."""
    return 1.0 - lower(np.asarray(n, np.int64) - np.asarray(successes, np.int64), n, alpha)


@dataclass(frozen=True)
class Simultaneous:
    """Lower and upper bounds for all K classes at once, each at alpha / (2K).

    R = sigma/2 (Phi^-1(pA_low) - Phi^-1(min(max pB_up, 1 - pA_low))). No votes are spent on choosing A: the bounds hold
    for all classes together, so the winner may be picked after seeing them. Certifies below p_A = 1/2 too.
    """

    n0: ClassVar[int] = 0

    @property
    def key(self) -> str:
        return "simultaneous"

    def level(self, alpha: float, classes: int) -> float:
        """Error of a single binomial bound, out of alpha in all."""
        return alpha / (2 * classes)

    def top(self, counts: Counts, selection: Counts) -> Indices:
        """[..., K] -> [...] the class spoken of; of several with equal votes the first (then nothing is proven)."""
        return np.asarray(np.argmax(counts, axis=-1))

    def low(self, counts: Counts, selection: Counts, alpha: float) -> Floats:
        """[..., K] -> [...]: above the radius of the class spoken of with probability at most alpha."""
        level = self.level(alpha, counts.shape[-1])
        a, rival, n = _leading(counts, self.top(counts, selection))
        a_low = lower(a, n, level)
        return _gap(a_low, np.minimum(upper(rival, n, level), 1 - a_low))

    def high(self, counts: Counts, selection: Counts, beta: float) -> Floats:
        """[..., K] -> [...]: below the radius of any class with probability at most beta."""
        level = self.level(beta, counts.shape[-1])
        a, rival, n = _leading(counts, self.top(counts, selection))
        a_up = upper(a, n, level)
        # The rivals share 1 - p_A, so the strongest of them has its (K - 1)-th part at least.
        return _gap(a_up, np.maximum(lower(rival, n, level), (1 - a_up) / (counts.shape[-1] - 1)))


@dataclass(frozen=True)
class OneClass:
    """Cohen et al. 2019, Algorithm 1: `n0` separate votes choose A, the others bound p_A alone, p_B <= 1 - p_A.

    R = sigma Phi^-1(pA_low), nothing is proven unless pA_low > 1/2.
    """

    n0: int = 100

    def __post_init__(self) -> None:
        if self.n0 < 1:
            raise UserError(f"one_class needs at least 1 draw to select the class, not {self.n0}")

    @property
    def key(self) -> str:
        return f"one_class({self.n0})"

    def level(self, alpha: float, classes: int) -> float:
        """Error of a single binomial bound, out of alpha in all."""
        return alpha

    def top(self, counts: Counts, selection: Counts) -> Indices:
        """[..., K] -> [...] the class with most votes of the selection draw, the first of several."""
        return np.asarray(np.argmax(selection, axis=-1))

    def low(self, counts: Counts, selection: Counts, alpha: float) -> Floats:
        """[..., K] -> [...]: above Phi^-1(p_A), hence above the radius, with probability at most alpha."""
        a, _, n = _leading(counts, self.top(counts, selection))
        return np.asarray(ndtri(lower(a, n, alpha)))

    def high(self, counts: Counts, selection: Counts, beta: float) -> Floats:
        """[..., K] -> [...]: below Phi^-1(p_A), the most this bound can ever prove, with probability at most beta."""
        a, _, n = _leading(counts, self.top(counts, selection))
        return np.asarray(ndtri(upper(a, n, beta)))


Bound = Simultaneous | OneClass


def _leading(counts: Counts, top: Indices) -> tuple[Counts, Counts, Counts]:
    """[..., K] -> [...] each: votes for `top`, for the strongest of the others, and in all."""
    votes = np.take_along_axis(counts, top[..., None], -1)
    others = counts.copy()
    np.put_along_axis(others, top[..., None], -1, -1)
    return votes[..., 0], others.max(-1), counts.sum(-1)


def _gap(a: Floats, b: Floats) -> Floats:
    """(Phi^-1(a) - Phi^-1(b)) / 2. Without any votes a = 0 and b = 1, or the reverse: infinite, not undefined."""
    return np.asarray((ndtri(a) - ndtri(b)) / 2, np.float64)
