"""Flips between clean and a condition, counted by hand."""

import pytest
from planted import make_run

from medproof.scoring.intervals import wilson
from medproof.scoring.pairs import flips
from medproof.scoring.scored import score


def test_flips_counted_by_hand() -> None:
    # gold    A B C D A B C D
    # clean   A B C D A A A -   five right; two wrong, one unparsed
    # other   A A ? - A B B -   right: 0, 4, 5
    scored = score(make_run({"clean": "ABCDAAA-", "noise(0.1)": "AA?-ABB-"}))
    pairs = flips(scored.outcomes["clean"], scored.outcomes["noise(0.1)"], scored.items)
    assert pairs["flip"] == {"value": 5 / 8, "ci95": list(wilson(5, 8)), "n": 8}
    assert pairs["harmful_flip"] == {"value": 3 / 5, "ci95": list(wilson(3, 5)), "n": 5}
    assert [pairs[f"harmful_{s}"]["value"] for s in ("wrong", "abstain", "unparsed")] == [0.2, 0.2, 0.2]
    assert pairs["beneficial_flip"]["value"] == 1 / 3
    assert pairs["net"]["value"] == pytest.approx(3 / 8 - 5 / 8)
    low, high = pairs["net"]["ci95"]
    assert low < -0.25 < high


def test_only_items_counted_in_both_arms() -> None:
    scored = score(make_run({"clean": "A!CDABCD", "noise(0.1)": "BBC! BCD"}))
    pairs = flips(scored.outcomes["clean"], scored.outcomes["noise(0.1)"], scored.items)
    assert pairs["flip"]["n"] == 5
    assert pairs["flip"]["value"] == 1 / 5


def test_nothing_to_pair_is_null() -> None:
    scored = score(make_run({"clean": "!!!!!!!!", "noise(0.1)": "ABCDABCD"}))
    pairs = flips(scored.outcomes["clean"], scored.outcomes["noise(0.1)"], scored.items)
    assert all(value == {"value": None, "ci95": None, "n": 0} for value in pairs.values())
