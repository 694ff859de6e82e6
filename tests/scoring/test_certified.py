"""Certified accuracy: planted certificates, bands that hold, wrong certificates counted in, blind models shown."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from planted import ITEMS, OPTIONS
from scipy.stats import binom

from medproof.errors import UserError
from medproof.records import Certificate
from medproof.scoring.certified import band, certified, errors

BY_ID = {item.id: item for item in ITEMS}


def planted(number: int, predicted: str | None, radius: float, **changes: Any) -> Certificate:
    """A certificate of item `number`. `predicted`: "gold", "other", "unparsed" or None."""
    item = ITEMS[number]
    other = next(option for option in OPTIONS if option != item.answer)
    answer = {"gold": item.answer, "other": other, "unparsed": "unparsed", None: None}[predicted]
    values: dict[str, Any] = {
        "item_id": item.id,
        "counts": {**dict.fromkeys(OPTIONS, 0), "unparsed": 0, (answer or other): 100},
        "predicted": answer,
        "radius": radius,
        "sigma": 0.25,
        "n": 100,
        "alpha": 0.001,
        "plan": "fixed(100)",
        "bound": "simultaneous",
        "stop": "spent",
    }
    return Certificate(**{**values, **changes})


PLANTED = (
    planted(0, "gold", 0.4),
    planted(1, "gold", 0.2),
    planted(2, "gold", 0.2),
    planted(3, "gold", 0.0),
    planted(4, "other", 0.8),
    planted(5, "unparsed", 0.8),
    planted(6, None, 0.0),
)


def value_at(block: dict, r: float, name: str) -> float:
    return next(row for row in block["curve"] if row["radius"] >= r - 1e-12)[name]


def test_planted_curve() -> None:
    block = certified(PLANTED, BY_ID)
    assert (block["n"], block["missing"]) == (7, 1)
    assert block["accuracy"]["accuracy"] == 4 / 7
    assert block["abstention"]["value"] == 1 / 7
    assert block["unparsed"]["value"] == 1 / 7
    assert block["ACR"]["value"] == pytest.approx(0.8 / 7)
    assert [value_at(block, r, "certified_accuracy") for r in (0, 0.001, 0.2, 0.201, 0.4)] == pytest.approx(
        [4 / 7, 3 / 7, 3 / 7, 1 / 7, 1 / 7]
    )
    assert block["curve"][-1]["radius"] == 0.4
    assert (block["sigma"], block["alpha"], block["plan"], block["mean_draws"]) == (0.25, 0.001, "fixed(100)", 100)
    json.dumps(block, allow_nan=False)


def test_groups_add_up() -> None:
    block = certified(PLANTED, BY_ID)
    parts = block["by"]["modality"].values()
    assert sum(part["n"] for part in parts) == 7
    for place, row in enumerate(block["curve"]):
        split = sum(part["n"] * part["curve"][place]["certified_accuracy"] for part in parts)
        assert split == pytest.approx(7 * row["certified_accuracy"])
    assert list(block["by"]["question_type"]) == ["Disease Diagnosis"]


def test_a_blind_model_keeps_its_curve_and_loses_ra_star() -> None:
    sure = [planted(k, "gold", 0.5) for k in range(8)]
    blind = certified(sure, BY_ID, blank={item.id: item.answer for item in ITEMS}, text_prior=0.9)
    seeing = certified(sure, BY_ID, blank=dict.fromkeys(BY_ID, None))
    for block, star in ((blind, 0.0), (seeing, 1.0)):
        assert all(row["certified_accuracy"] == 1 for row in block["curve"])
        assert all(row["RA_star"] == star for row in block["curve"])
    assert (blind["blank"]["value"], seeing["blank"]["value"]) == (1, 0)
    assert blind["text_prior"]["accuracy"] == 0.9
    assert certified(sure, BY_ID)["curve"][0]["RA_star"] is None


def test_ra_star_is_what_the_blank_image_gets_wrong() -> None:
    """RA* of right answers: correct and another answer on the blank image is correct and wrong on the blank image."""
    blank = {item.id: OPTIONS[0] for item in ITEMS}
    block = certified(PLANTED, BY_ID, blank=blank)
    for row in block["curve"]:
        kept = [c.predicted == BY_ID[c.item_id].answer and c.radius >= row["radius"] for c in PLANTED]
        wrong = [BY_ID[c.item_id].answer != blank[c.item_id] for c in PLANTED]
        assert row["RA_star"] == pytest.approx(np.mean(np.array(kept) & np.array(wrong)))


def test_certificates_that_do_not_belong_together_are_refused() -> None:
    for other in (
        {"alpha": 0.01},
        {"sigma": 0.5},
        {"plan": "fixed(7)"},
        {"bound": "one_class(100)"},
        {"space": "jpeg"},
    ):
        with pytest.raises(UserError, match=f"differ in {next(iter(other))}"):
            certified([*PLANTED, planted(7, "gold", 0.1, **other)], BY_ID)
    with pytest.raises(UserError, match="two certificates"):
        certified([*PLANTED, PLANTED[0]], BY_ID)
    with pytest.raises(UserError, match="none of the run's"):
        certified([planted(0, "gold", 0.1, item_id="x")], BY_ID)
    with pytest.raises(UserError, match="medproof certify"):
        certified([], BY_ID)


@pytest.mark.parametrize("sizes", [[1] * 60, [5] * 30, [1] * 20 + [10] * 4])
def test_the_band_holds_at_all_radii_at_once(sizes: list[int]) -> None:
    """Items of one cluster have the same radius, the worst case. In 95 % of data sets the curve stays in its band."""
    rng, trials = np.random.default_rng(0), 4000
    weights = np.array(sizes) / sum(sizes)
    drawn = np.sort(rng.random((trials, len(sizes))), axis=1)  # the truth: P(radius >= r) = 1 - r
    orders = rng.permuted(np.tile(weights, (trials, 1)), axis=1)
    after = np.cumsum(orders, axis=1)
    furthest = np.maximum(np.abs(after - drawn), np.abs(after - orders - drawn)).max(1)
    half = band([k for k, size in enumerate(sizes) for _ in range(size)])
    missed = int((furthest > half).sum())
    assert missed <= binom.ppf(1 - 1e-6, trials, 0.05)
    assert (furthest > half / 2).mean() > 0.2


def test_band_of_independent_items() -> None:
    assert band(range(100)) == pytest.approx(np.sqrt(np.log(40) / 200))
    assert band([0] * 5 + [1] * 5) == band(range(2))


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.001])
@pytest.mark.parametrize("n", [1, 20, 400, 5000])
def test_wrong_certificates_are_counted_in(n: int, alpha: float) -> None:
    """With independent noise: at least the exact quantile of Binomial(n, alpha), and little more."""
    exact = int(binom.ppf(1 - alpha, n, alpha))
    got = errors(range(n), alpha)
    assert exact <= got <= exact + 3 + 0.2 * exact


def test_shared_noise_may_fail_together() -> None:
    """Ten questions on each of 50 images that are all wrong, or none, with probability alpha."""
    alpha = 0.01
    got = errors([k // 10 for k in range(500)], alpha)
    exact = 10 * int(binom.ppf(1 - alpha, 50, alpha))
    assert exact <= got < 2 * exact
    assert got > errors(range(500), alpha)


def test_the_proven_part_lies_below_by_the_wrong_ones() -> None:
    questions = {f"q{k}": ITEMS[0].model_copy(update={"id": f"q{k}", "image": f"{k}.png"}) for k in range(200)}
    sure = [planted(0, "gold", 0.3, item_id=item_id) for item_id in questions]
    block = certified(sure, questions)
    assert block["wrong_at_most"] == errors(range(200), 0.001) > 0
    assert block["curve"][-1]["proven"] == 1 - block["wrong_at_most"] / 200
    together = certified(sure, questions, noise_of=dict.fromkeys(questions, "one image"))
    assert together["curve"][-1]["proven"] < 0.01
