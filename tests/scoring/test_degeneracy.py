"""Rotations, position bias, calibration and the alarm, by hand."""

from collections.abc import Sequence
from math import log

import numpy as np
import pytest
from planted import GOLD, Run, make_item, make_run

from medproof.records import Item
from medproof.scoring.degeneracy import calibration, options_block
from medproof.scoring.intervals import wilson
from medproof.scoring.numbers import Json
from medproof.scoring.scored import Scored, score
from medproof.scoring.tables import condition_table


def turned(answers: dict[str, str], items: Sequence[Item]) -> Scored:
    """Replies under `rotated(K)`, with the options turned as the condition turns them."""
    run = make_run(answers, items)
    replies = [
        reply.model_copy(update={"info": {"options_turned": float(reply.condition[8:-1])}})
        if reply.condition.startswith("rotated")
        else reply
        for reply in run.responses
    ]
    return score(Run(run.items, tuple(replies), run.meta))


def block_of(scored: Scored) -> Json:
    block = options_block(scored, {key: condition_table(scored, key) for key in scored.conditions})
    assert block is not None
    return block


PAIRS = [make_item(number, gold, ("cyst", "mass")) for number, gold in enumerate("ABAB")]


def test_circular_accuracy_and_consistency() -> None:
    # Turned by one, the right letters are B A B A. i0 right twice, i1 once, i2 twice wrong, i3 always says A.
    block = block_of(turned({"clean": "AABA", "rotated(1)": "BAAA"}, PAIRS))
    circular = block["circular"]
    assert circular["accuracy"] == {"value": 1 / 4, "ci95": list(wilson(1, 4)), "n": 4}
    assert circular["plain"]["value"] == 1 / 4
    # The same answer by content: i0 (cyst), i2 (mass); i1 says A twice: cyst, then mass.
    assert circular["consistency"]["value"] == 2 / 4
    # Right option at A: i0, i2 clean, i1, i3 turned; hits i0, i1, i3. At B: hits i0 turned.
    recall = block["position"]["recall"]
    assert (recall["A"]["value"], recall["B"]["value"]) == (3 / 4, 1 / 4)
    assert block["position"]["bias"]["value"] == pytest.approx(1 / 4)


def test_one_letter_is_right_once_per_circle() -> None:
    """Who always says A has circular accuracy 0, recall 1 and 0, and sets off the alarm."""
    block = block_of(turned({"clean": "AAAA", "rotated(1)": "AAAA"}, PAIRS))
    assert block["circular"]["accuracy"]["value"] == 0
    assert block["circular"]["consistency"]["value"] == 0
    assert block["position"]["bias"]["value"] == 0.5
    assert block["alarms"] == [
        {"condition": "clean", "letter": "A", "share": 1.0, "n": 4},
        {"condition": "rotated(1)", "letter": "A", "share": 1.0, "n": 4},
    ]


def test_a_circle_needs_every_rotation() -> None:
    items = [make_item(0, "A", ("cyst", "mass")), make_item(1, "A", ("cyst", "mass", "scar"))]
    block = block_of(turned({"clean": "AA", "rotated(1)": "BC"}, items))
    assert block["circular"]["accuracy"]["n"] == 1
    assert block["circular"]["left_out"] == 1


def test_calibration_by_hand() -> None:
    items = [make_item(number, gold, ("cyst", "mass")) for number, gold in enumerate("AABA")]
    # Confidence .9 (right), .9 (wrong), .6 (right), .6 (right).
    p = [(0.9, 0.1), (0.1, 0.9), (0.4, 0.6), (0.6, 0.4)]
    found = calibration([(item, np.array(row)) for item, row in zip(items, p, strict=True)])
    # Bins of .9 and .6: |.9 - .5| and |.6 - 1|, each for half of the items.
    assert found["ece"]["value"] == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
    assert found["brier"]["value"] == pytest.approx((0.02 + 1.62 + 0.32 + 0.32) / 4)
    values = [found["selective"][coverage]["value"] for coverage in ("0.25", "0.5", "0.75", "1.0")]
    assert values == [1, 1 / 2, 2 / 3, 3 / 4]


def test_probabilities_of_the_replies_are_read() -> None:
    run = make_run({"clean": GOLD})
    told = tuple(log(x) for x in (0.7, 0.1, 0.1, 0.1))
    replies = tuple(reply.model_copy(update={"option_logprobs": told}) for reply in run.responses)
    block = block_of(score(Run(run.items, replies, run.meta)))
    assert block["circular"] is None
    # Forced choice always A: right twice of eight, at confidence .7.
    assert block["calibration"]["ece"]["value"] == pytest.approx(0.7 - 2 / 8)
    assert block["alarms"] == []


def test_without_rotations_and_probabilities_there_is_no_block() -> None:
    scored = score(make_run({"clean": GOLD}))
    assert options_block(scored, {}) is None
