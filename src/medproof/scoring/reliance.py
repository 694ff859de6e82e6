"""Looking at the image: what is left of the accuracy when the image is taken away (METRICS, "Looking at the image").

A model that ignores the image is perfectly robust, so these numbers stand beside every robust one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from medproof.records import Item, Outcome
from medproof.scoring.blind_prior import BlindPrior
from medproof.scoring.intervals import Floats
from medproof.scoring.numbers import Json, bootstrapped, share
from medproof.scoring.scored import CLEAN, Outcomes, answer_of, both, counted, is_correct, named

CONTROLS = ("blank", "noimage", "shuffled")


def reliance(
    outcomes: Outcomes,
    items: Mapping[str, Item],
    text_prior: float | Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Json:
    """The reliance block of report.json, overall and under "by" per modality. Null where a condition was not run.

    - `clean`, `blank`, `noimage`, `shuffled`, `text_prior`: {accuracy, ci95 (Wilson), n};
    - `VRS` = Acc_real - Acc_shuffled, over the items counted in both;
    - `IS` = P(a_real != a_shuffled);
    - `blank_drop` = Acc_real - Acc_blank;
    - `kappa` = (Acc - m) / (1 - m), m = max(Acc_noimage, Acc_textprior) with `m` and `m_from`; null where m is 1;
    - `image_reliant` = P(a_blank != a_real); `image_reliant_correct` = P(c_real = 1 and a_blank != a_real).

    Differences and kappa carry cluster-bootstrap intervals, proportions Wilson's. `text_prior` is what
    `BlindPrior.read` takes; per item it varies with the resamples, as a number it is a constant.
    """
    prior = BlindPrior.read(text_prior)
    by: dict[str, Json] = {}
    for modality in sorted({item.modality for item in items.values()}):
        ids = {item_id for item_id, item in items.items() if item.modality == modality}
        part = {key: {i: o for i, o in by_item.items() if i in ids} for key, by_item in outcomes.items()}
        by[modality] = _block(part, items, prior and prior.within(modality, ids), seed)
    return {**_block(outcomes, items, prior, seed), "by": {"modality": by}}


def kappa_of(means: Floats) -> Floats:
    """(Acc - m) / (1 - m) for means (..., 1 + blind arms), m the best blind arm; NaN where m is 1."""
    m = means[..., 1:].max(axis=-1)
    room = np.where(m < 1 - 1e-12, 1 - m, np.nan)
    return np.asarray((means[..., 0] - m) / room)


def _block(outcomes: Outcomes, items: Mapping[str, Item], prior: BlindPrior | None, seed: int) -> Json:
    clean = outcomes.get(CLEAN)
    arms = {name: outcomes[key] for name in CONTROLS if (key := named(outcomes, name)) is not None}
    block: Json = {CLEAN: _accuracy(clean), **{name: _accuracy(arms.get(name)) for name in CONTROLS}}
    block["text_prior"] = None if prior is None else dict(prior.whole)
    block |= dict.fromkeys(("VRS", "IS", "blank_drop", "kappa", "image_reliant", "image_reliant_correct"))
    if clean is None:
        return block
    block["kappa"] = _kappa(clean, arms.get("noimage"), prior, items, seed)
    if "shuffled" in arms:
        block["VRS"] = _difference(clean, arms["shuffled"], items, seed)
        block["IS"] = share(answer_of(real) != answer_of(other) for _, real, other in both(clean, arms["shuffled"]))
    if "blank" in arms:
        pairs = both(clean, arms["blank"])
        changed = [(real, answer_of(real) != answer_of(blank)) for _, real, blank in pairs]
        block["blank_drop"] = _difference(clean, arms["blank"], items, seed)
        block["image_reliant"] = share(moved for _, moved in changed)
        block["image_reliant_correct"] = share(moved and is_correct(real) for real, moved in changed)
    return block


def _accuracy(arm: Mapping[str, Outcome] | None) -> Json | None:
    return None if arm is None else share((is_correct(o) for o in counted(arm).values()), "accuracy")


def _difference(a: Mapping[str, Outcome], b: Mapping[str, Outcome], items: Mapping[str, Item], seed: int) -> Json:
    """Acc_a - Acc_b over the items counted in both."""
    pairs = both(a, b)
    columns = [[float(is_correct(left)) for _, left, _ in pairs], [float(is_correct(right)) for _, _, right in pairs]]
    clusters = [items[item_id].cluster for item_id, _, _ in pairs]
    return bootstrapped(columns, {"d": lambda means: means[..., 0] - means[..., 1]}, clusters, seed)["d"]


def _kappa(
    clean: Mapping[str, Outcome],
    noimage: Mapping[str, Outcome] | None,
    prior: BlindPrior | None,
    items: Mapping[str, Item],
    seed: int,
) -> Json | None:
    """Kappa over the items counted in every arm it uses; null where there is no blind arm."""
    real, without = counted(clean), counted(noimage or {})
    ids = [item_id for item_id in real if noimage is None or item_id in without]
    blind: dict[str, list[float]] = {}
    if noimage is not None:
        blind["noimage"] = [float(is_correct(without[i])) for i in ids]
    if prior is not None:
        blind["text_prior"] = prior.column(ids)
    if not blind or not ids:
        return None
    columns = [[float(is_correct(real[i])) for i in ids], *blind.values()]
    result = bootstrapped(columns, {"kappa": kappa_of}, [items[i].cluster for i in ids], seed)["kappa"]
    means = {name: sum(column) / len(ids) for name, column in blind.items()}
    source = max(means, key=lambda name: means[name])
    return {**result, "m": means[source], "m_from": source}
