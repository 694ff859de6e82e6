"""Counts -> `Certificate`. Pure: alpha, bound and plan can be looked into again without a model."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medproof.records import Certificate
from medproof.smoothing.plans import parse_plan
from medproof.smoothing.scheme import Scheme, Tally, parse_bound


def certify(scheme: Scheme, item_id: str, tally: Tally) -> Certificate:
    """What the votes prove under the scheme. `predicted` is None where they do not even prove an answer.

    The tally stands at a look of the plan, not necessarily its last: whoever runs out of time takes the last look it
    reached (then `stop` is "open"). Raises ValueError at any other number of votes: its error would not be alpha.
    """
    if tally.n not in scheme.plan.looks or tally.n0 != scheme.bound.n0:
        raise ValueError(
            f"{tally.n} votes ({tally.n0} to select) are no look of {scheme.plan.key} with {scheme.bound.key}: "
            "its error is spent on other numbers"
        )
    radius = scheme.radius(tally)
    return Certificate(
        item_id=item_id,
        counts=dict(tally.counts),
        selection=dict(tally.selection) if tally.n0 else {},
        predicted=None if radius is None else scheme.leader(tally),
        radius=radius or 0.0,
        sigma=scheme.sigma,
        n=tally.n,
        n0=tally.n0,
        alpha=scheme.alpha,
        plan=scheme.plan.key,
        bound=scheme.bound.key,
        stop=scheme.decide(tally) or "open",
    )


def scheme_of(certificate: Certificate) -> Scheme:
    """The scheme a certificate was made under."""
    bound, plan = parse_bound(certificate.bound), parse_plan(certificate.plan)
    return Scheme(certificate.sigma, certificate.alpha, bound, plan)


def tally_of(certificate: Certificate) -> Tally:
    """The votes it rests on: certify(scheme_of(c), c.item_id, tally_of(c)) == c."""
    return Tally(certificate.counts, certificate.selection or dict.fromkeys(certificate.counts, 0))


def replay(scheme: Scheme, item_id: str, labels: Sequence[str], votes: Sequence[str]) -> Certificate:
    """The certificate the scheme would have come to on stored single votes, in the order of their draws.

    If they end before the plan does, that of its last look. Raises ValueError where they do not reach the first.
    """
    tally, at_look, used = scheme.start(labels), None, 0
    while (step := scheme.step(tally)).draws and used + step.draws <= len(votes):
        part = votes[used : used + step.draws]
        tally = scheme.add(tally, {label: part.count(label) for label in set(part)})
        used += step.draws
        if tally.n:
            at_look = tally
    if at_look is None:
        needed = scheme.bound.n0 + scheme.plan.looks[0]
        raise ValueError(f"{len(votes)} votes do not reach the first look of {scheme.plan.key}: it needs {needed}")
    return certify(scheme, item_id, at_look)


def grey_level_rms(radius: float, shape: Sequence[int]) -> float:
    """An L2 radius over an image of this shape (H, W, 3) as a root mean square change per value, in grey levels."""
    return 255 * radius / math.sqrt(math.prod(shape))
