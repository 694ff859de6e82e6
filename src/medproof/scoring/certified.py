"""Certified accuracy, and how much of it needs the image (METRICS, "Robustness and certificates").

A model that ignores the image certifies at every radius. So the blind accuracies stand beside each curve, and certified
RA* counts an item only if the answer is another one on the blank image.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from medproof.errors import UserError
from medproof.records import Certificate, Item
from medproof.scoring.blind_prior import BlindPrior
from medproof.scoring.intervals import CONFIDENCE, Floats
from medproof.scoring.numbers import Json, bootstrapped, share

POINTS = 65
_SAME = ("sigma", "alpha", "bound", "plan", "space")
_GROUPS = ("modality", "question_type")


def certified(
    certificates: Sequence[Certificate],
    items: Mapping[str, Item],
    *,
    blank: Mapping[str, str | None] | None = None,
    text_prior: float | Mapping[str, Any] | None = None,
    noise_of: Mapping[str, Hashable] | None = None,
    seed: int = 0,
) -> Json:
    """The certified block of report.json for certificates of one scheme, overall and under "by" per group.

    - `curve`: per radius r `certified_accuracy` = P(correct and radius >= r) with its `band`, the part `proven` though
      some certificates may be wrong (`errors`), and `RA_star` = P(that and a_blank != a_real), null without `blank`;
    - `accuracy`, `abstention`, `unparsed` (a certified answer that is no option): shares with Wilson intervals;
    - `ACR`: average certified radius, 0 where wrong or abstaining; cluster bootstrap;
    - `mean_draws` per decision, selection included; `stops`: how the plan ended;
    - `blank`, `text_prior`: what a blind model has right, and so certifies at every radius;
    - `missing`: items without a certificate; `n` those with one.

    blank: item id -> the model's answer without the picture, None where there was none; `text_prior` as for `reliance`.
    noise_of: what items have in common if they share their noise; by default their image.
    Raises UserError where certificates were made under different schemes, twice for one item or for no item of `items`.
    """
    scheme = _same_scheme(certificates)
    ids = {certificate.item_id for certificate in certificates}
    if unknown := ids - items.keys():
        raise UserError(
            f"item {min(unknown)!r} has a certificate and is none of the run's: give the items it was made on"
        )
    if len(ids) < len(certificates):
        raise UserError("some item has two certificates: give one for each")
    shared = noise_of or {i: (item.image, item.frame, item.window) for i, item in items.items()}
    top = max((c.radius for c in certificates if _correct(c, items)), default=0.0)
    radii = np.linspace(0.0, top, POINTS) if top else np.zeros(1)
    prior = BlindPrior.read(text_prior)
    by: dict[str, dict[str, Json]] = {}
    for group in _GROUPS:
        for value in sorted({getattr(items[c.item_id], group) for c in certificates}):
            part = [c for c in certificates if getattr(items[c.item_id], group) == value]
            inside = None
            if prior is not None and (group == "modality" or prior.correct is not None):
                inside = prior.within(value, {c.item_id for c in part})
            by.setdefault(group, {})[value] = _block(part, items, radii, blank, inside, shared, seed)
    missing = len(items) - len(certificates)
    return {**scheme, "missing": missing, **_block(certificates, items, radii, blank, prior, shared, seed), "by": by}


def band(clusters: Sequence[Hashable], confidence: float = CONFIDENCE) -> float:
    """Half-width of a band around a whole curve of shares, which holds at all radii at once.

    Dvoretzky-Kiefer-Wolfowitz with the constant of Massart (1990): sqrt(ln(2 / (1 - confidence)) / 2n), for finite n
    and any distribution. n is the number of items, or with several items in a cluster Kish's effective number of
    clusters, (sum m)^2 / sum m^2: what is left if the items of one cluster always agree.
    """
    sizes = Counter(clusters).values()
    effective = sum(sizes) ** 2 / sum(size**2 for size in sizes)
    return math.sqrt(math.log(2 / (1 - confidence)) / (2 * effective))


def errors(noise: Iterable[Hashable], alpha: float) -> int:
    """At most so many of the certificates are wrong, with confidence 1 - alpha over the noise of all of them.

    Each is wrong with probability at most alpha; those with the same label in `noise` share their noise and may all be
    wrong together, others are independent. Chernoff's bound, for each group the worst case: all wrong or none.
    """
    sizes, groups = np.unique(list(Counter(noise).values()), return_counts=True)
    s = np.geomspace(1e-4, 100, 1000)[:, None]  # every s gives a valid bound; the best of the grid is taken
    log_moment = (groups * np.logaddexp(math.log1p(-alpha), math.log(alpha) + s * sizes)).sum(1)
    unlikely = float(((log_moment - math.log(alpha)) / s[:, 0]).min())
    return min(int(groups @ sizes), math.ceil(unlikely) - 1)


def _block(
    certificates: Sequence[Certificate],
    items: Mapping[str, Item],
    radii: Floats,
    blank: Mapping[str, str | None] | None,
    prior: BlindPrior | None,
    shared: Mapping[str, Hashable],
    seed: int,
) -> Json:
    n = len(certificates)
    clusters = [items[c.item_id].cluster for c in certificates]
    reach = np.array([c.radius if _correct(c, items) else -1.0 for c in certificates])  # (N,)
    seen = [k for k, c in enumerate(certificates) if blank is not None and c.item_id in blank]
    looks = [blank is not None and blank[certificates[k].item_id] != certificates[k].predicted for k in seen]
    asked = [items[certificates[k].item_id].answer == (blank or {})[certificates[k].item_id] for k in seen]
    wrong = errors([shared[c.item_id] for c in certificates], certificates[0].alpha)
    half = band(clusters)
    curve = []
    for r in radii:
        value = float(np.mean(reach >= r))
        star = float(np.mean(np.array(looks) & (reach[seen] >= r))) if seen else None
        row = {
            "radius": float(r),
            "certified_accuracy": value,
            "band": [max(0.0, value - half), min(1.0, value + half)],
        }
        curve.append({**row, "proven": max(0.0, value - wrong / n), "RA_star": star})
    options = [items[c.item_id].options for c in certificates]
    return {
        "n": n,
        "accuracy": share((reach >= 0).tolist(), "accuracy"),
        "abstention": share(c.predicted is None for c in certificates),
        "unparsed": share(c.predicted is not None and c.predicted not in o for c, o in zip(certificates, options)),
        "ACR": bootstrapped([[*np.maximum(reach, 0.0)]], {"ACR": lambda means: means[..., 0]}, clusters, seed)["ACR"],
        "mean_draws": sum(c.n + c.n0 for c in certificates) / n,
        "stops": dict(sorted(Counter(c.stop for c in certificates).items())),
        "wrong_at_most": wrong,
        "blank": share(asked) if seen else None,
        "text_prior": None if prior is None else dict(prior.whole),
        "curve": curve,
    }


def _correct(certificate: Certificate, items: Mapping[str, Item]) -> bool:
    return certificate.predicted == items[certificate.item_id].answer


def _same_scheme(certificates: Sequence[Certificate]) -> Json:
    """What the certificates have in common."""
    if not certificates:
        raise UserError("no certificate to report on: run medproof certify first")
    scheme = {name: getattr(certificates[0], name) for name in _SAME}
    for other in certificates:
        if found := {name: value for name, value in scheme.items() if getattr(other, name) != value}:
            name, value = next(iter(found.items()))
            raise UserError(f"certificates differ in {name} ({value} and {getattr(other, name)}): report on each apart")
    return {**scheme, "n0": certificates[0].n0}
