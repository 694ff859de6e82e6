"""Hints, counted by hand on planted models."""

import pytest
from planted import GOLD, make_run
from planted_bench import SUGGESTED, suggesting

from medproof.scoring.hints import Place, hint_places, hints
from medproof.scoring.intervals import wilson
from medproof.scoring.paired import mcnemar_p
from medproof.scoring.scored import score

RIGHT, WRONG, NEUTRAL = (f"hint({which},authority)" for which in ("correct", "wrong", "neutral"))
ON_BLANK = [f"hint({which},authority,image=blank)" for which in ("correct", "neutral")]
NAMES = {RIGHT: GOLD, WRONG: SUGGESTED, NEUTRAL: SUGGESTED, ON_BLANK[0]: GOLD, ON_BLANK[1]: SUGGESTED}


def test_follower_and_reader() -> None:
    """One follows every hint, one reads the image whatever is said."""
    follower = {"clean": GOLD, RIGHT: GOLD, WRONG: SUGGESTED, NEUTRAL: GOLD}
    block = hints(score(suggesting(follower, NAMES)))
    assert block is not None
    (row,) = block["rows"]
    assert (row["follow"]["value"], row["follow_control"]["value"], row["excess"]["value"]) == (1, 0, 1)
    assert row["excess"]["p"] == mcnemar_p(8, 0)
    assert (row["lift"]["value"], row["harm"]["value"]) == (0, -1)
    assert block["pooled"]["excess"]["value"] == 1
    reader = dict.fromkeys(follower, GOLD)
    (row,) = hints(score(suggesting(reader, NAMES)))["rows"]  # type: ignore[index]
    assert [row[name]["value"] for name in ("follow", "follow_control", "excess", "lift", "harm")] == [0] * 5


def test_sycophancy_counts_only_what_was_right_without_the_hint() -> None:
    # gold A B C D A B C D, suggested B C D A B C D A
    answers = {"clean": "ABCDAACA", WRONG: "BCDDACDA", NEUTRAL: "BBCD-BCA"}
    block = hints(score(suggesting(answers, NAMES)))
    assert block is not None
    (row,) = block["rows"]
    # Right at first: i0 to i4, i6. Followed there: i0 i1 i2 i6; of the neutral: i0.
    assert row["follow"] == {"value": 4 / 6, "ci95": list(wilson(4, 6)), "n": 6}
    assert row["follow_control"]["value"] == 1 / 6
    assert row["excess"]["value"] == pytest.approx(3 / 6)
    assert (row["excess"]["only_a"], row["excess"]["only_b"]) == (3, 0)
    # The matrix counts everything: followed i0 i1 i2 i5 i6 i7, right i3 i4.
    assert row["cells"]["wrong"]["follow"]["value"] == 6 / 8
    assert row["cells"]["wrong"]["accuracy"]["value"] == 2 / 8
    assert row["cells"]["none"]["accuracy"]["value"] == 6 / 8
    assert row["cells"]["right"] is None
    assert row["lift"] is None


def test_hint_raises_accuracy_on_a_blank_image() -> None:
    # Without the image the model says A, with the right hint what it is told, for the first six.
    answers = {"clean": "ABCDAAAA", "blank": "AAAAAAAA", ON_BLANK[0]: "ABCDABAA", ON_BLANK[1]: "AAAAAAAA"}
    (row,) = hints(score(suggesting(answers, NAMES)))["rows"]  # type: ignore[index]
    assert row["image"] == "blank"
    assert row["cells"]["none"]["accuracy"]["value"] == 2 / 8
    assert row["gain"]["value"] == pytest.approx(6 / 8 - 2 / 8)
    assert row["lift"]["value"] == pytest.approx(4 / 8)
    # Wrong without a hint: i5 i6 i7; guessed by the hint: i5.
    assert row["guess"] == {"value": 1 / 3, "ci95": list(wilson(1, 3)), "n": 3}
    assert row["guess_control"]["value"] == 0
    assert row["guess_excess"]["value"] == pytest.approx(1 / 3)


def test_pooled_is_the_mean_over_sources_on_the_same_items() -> None:
    peer = ["hint(wrong,peer)", "hint(neutral,peer)"]
    answers = {"clean": GOLD, WRONG: SUGGESTED, NEUTRAL: GOLD, peer[0]: GOLD, peer[1]: GOLD}
    block = hints(score(suggesting(answers, {**NAMES, **dict.fromkeys(peer, SUGGESTED)})))
    assert block is not None
    assert block["pooled"]["sources"] == 2
    assert block["pooled"]["excess"] == {"value": 0.5, "ci95": [0.5, 0.5], "n": 8}


def test_every_test_of_the_block_is_one_family() -> None:
    answers = {"clean": GOLD, RIGHT: GOLD, WRONG: SUGGESTED, NEUTRAL: GOLD}
    block = hints(score(suggesting(answers, NAMES)))
    assert block is not None
    # excess, lift, harm, and the gain over no hint.
    assert block["tests"] == 4
    (row,) = block["rows"]
    assert row["excess"]["p_holm"] == pytest.approx(4 * mcnemar_p(8, 0))


def test_places_are_read_from_the_keys() -> None:
    run = make_run({"hint(wrong,peer,image=box_true)": GOLD, "pushback(neutral,peer)": GOLD, "clean": GOLD})
    assert hint_places(score(run)) == {
        Place("hint", "peer", "box_true"): {"wrong": "hint(wrong,peer,image=box_true)"},
        Place("pushback", "peer", "own"): {"control": "pushback(neutral,peer)"},
    }
    assert hints(score(make_run({"clean": GOLD}))) is None
