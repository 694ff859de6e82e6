"""Two arms on the same items."""

import pytest
from planted import GOLD, make_item, make_run

from medproof.errors import UserError
from medproof.scoring.compare import compare
from medproof.scoring.paired import mcnemar_p
from medproof.scoring.scored import Scored, score

ATTACK, UNION = "pgd(linf,8/255,20)", "union(linf,8/255,20)"


def scored(answers: dict[str, str]) -> Scored:
    return score(make_run(answers))


def test_every_shared_condition_is_compared_with_holm_over_all() -> None:
    a = scored({"clean": GOLD, "blank": GOLD, ATTACK: "BCDABCDD"})
    b = scored({"clean": GOLD, ATTACK: GOLD})
    clean, attack = compare(a, b)
    assert (clean["a"], clean["p"], clean["p_holm"], clean["difference"]) == ("clean", 1.0, 1.0, 0.0)
    assert (attack["accuracy_a"], attack["accuracy_b"], attack["only_a"], attack["only_b"]) == (1 / 8, 1.0, 0, 7)
    assert attack["p"] == mcnemar_p(0, 7)
    assert attack["p_holm"] == 2 * attack["p"]
    assert attack["difference"] == 7 / 8
    assert attack["ci95"][0] <= 7 / 8 <= attack["ci95"][1]


def test_a_condition_may_be_held_against_another() -> None:
    a, b = scored({"clean": GOLD, UNION: "BCDDABCD"}), scored({ATTACK: GOLD})
    (row,) = compare(a, b, [(UNION, ATTACK)])
    assert (row["a"], row["b"], row["only_b"], row["n"]) == (UNION, ATTACK, 4 - 1, 8)
    (same,) = compare(a, a, [("clean", UNION)])
    assert (same["only_a"], same["only_b"]) == (3, 0)


def test_the_order_of_the_runs_only_turns_the_sign() -> None:
    a, b = scored({ATTACK: "BCDABCDD"}), scored({ATTACK: "ABCDBCDA"})
    (one,), (other,) = compare(a, b), compare(b, a)
    assert one["p"] == other["p"]
    assert one["difference"] == -other["difference"]
    assert one["ci95"] == [-other["ci95"][1], -other["ci95"][0]]


def test_questions_of_one_patient_give_no_interval() -> None:
    items = tuple(make_item(n, "A", patient="p") for n in range(2))
    arm = score(make_run({"clean": "AB"}, items))
    assert compare(arm, arm)[0]["ci95"] is None


def test_refusals() -> None:
    a = scored({"clean": GOLD})
    with pytest.raises(UserError, match="share no condition"):
        compare(a, scored({ATTACK: GOLD}))
    with pytest.raises(UserError, match="holds no condition 'union"):
        compare(a, a, [(UNION, "clean")])
    with pytest.raises(UserError, match="different items"):
        compare(a, scored({"clean": "ABCDABC!"}))
