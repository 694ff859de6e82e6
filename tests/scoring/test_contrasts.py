"""Differences on the same items, and the family that Holm is taken over."""

import pytest
from planted import ITEMS

from medproof.scoring.contrasts import add_holm, contrast, only
from medproof.scoring.paired import holm, mcnemar_p

BY_ID = {item.id: item for item in ITEMS}


def flags(text: str) -> dict[str, bool]:
    return {f"i{number}": letter == "1" for number, letter in enumerate(text) if letter != " "}


def test_contrast_counts_items_of_both_arms_alone() -> None:
    found = contrast(flags("1110 111"), flags("0110100 "), BY_ID)
    assert found is not None
    # Both arms: 0 1 2 3 5 6; a has 1 1 1 0 1 1, b has 0 1 1 0 0 0.
    assert found["n"] == 6
    assert found["value"] == pytest.approx(5 / 6 - 2 / 6)
    assert (found["only_a"], found["only_b"]) == (3, 0)
    assert found["p"] == mcnemar_p(3, 0) == 0.25
    low, high = found["ci95"]
    assert 0 <= low < 0.5 < high <= 1


def test_swapping_the_arms_turns_the_sign() -> None:
    a, b = flags("11010110"), flags("01011000")
    one, other = contrast(a, b, BY_ID), contrast(b, a, BY_ID)
    assert one is not None
    assert other is not None
    assert one["value"] == pytest.approx(-other["value"])
    assert one["ci95"] == pytest.approx([-bound for bound in reversed(other["ci95"])])
    assert one["p"] == other["p"]


def test_no_common_item_is_none_and_one_cluster_has_no_interval() -> None:
    assert contrast(flags("1"), flags(" 1"), BY_ID) is None
    single = contrast(flags("1"), flags("0"), BY_ID)
    assert single is not None
    assert single["ci95"] is None


def test_only_keeps_items_for_which_the_other_event_is_as_asked() -> None:
    assert only(flags("1100"), flags("101 ")) == {"i0": True, "i2": False}
    assert only(flags("1100"), flags("101 "), value=False) == {"i1": True}


def test_holm_runs_over_every_test_of_a_block() -> None:
    block = {"rows": [{"lift": {"p": 0.01}, "harm": None}, {"lift": {"p": 0.04}, "harm": {"p": 0.03}}]}
    assert add_holm(block) == 3
    adjusted = [row[name]["p_holm"] for row in block["rows"] for name in ("lift", "harm") if row[name]]  # type: ignore[index]
    assert adjusted == holm([0.01, 0.04, 0.03])
