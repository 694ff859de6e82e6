"""RA, RA* and the attack table for planted models."""

from fractions import Fraction

import pytest
from planted import BLIND, GOLD, READER, Run, make_response, make_run

from medproof.conditions import arguments, resolve
from medproof.scoring.attack_key import AttackKey, attacks, random_controls
from medproof.scoring.intervals import wilson
from medproof.scoring.robustness import robustness
from medproof.scoring.scored import score

WEAK, STRONG = "pgd(linf,4/255,20)", "pgd(linf,8/255,20)"


def block_of(run: Run) -> dict:
    scored = score(run)
    block = robustness(scored)
    assert block is not None
    return block


def test_worst_case_of_a_model_that_reads_the_image() -> None:
    block = block_of(make_run(READER))
    # Weak leaves all but 0 and 6; strong leaves 6 and 7: only 7 survives both.
    assert (block["RA"], block["RA_n"], block["excluded"]) == (1 / 8, 8, 0)
    assert block["RA_ci95"] == list(wilson(1, 8))
    assert block["RA_star"] == 1 / 8  # blank answers A to item 7, clean D
    assert (block["RA_blank_wrong"], block["RA_blank_wrong_n"]) == (1 / 6, 6)
    assert block["attacks"][WEAK]["accuracy"] == 6 / 8
    assert block["attacks"][STRONG]["accuracy"] == 2 / 8


def test_a_blind_model_is_robust_and_its_ra_star_is_nought() -> None:
    block = block_of(make_run(BLIND))
    assert block["RA"] == 2 / 8
    assert block["RA_star"] == 0.0
    assert block["RA_blank_wrong"] == 0.0
    assert block["attacks"][STRONG]["success_rate"] == 0.0


def test_failures_are_split() -> None:
    run = make_run({**READER, STRONG: "BCD?--CD"})
    cut = make_response("i4", STRONG, "-", text="<think>it is", truncated=True)
    run = Run(run.items, (*[r for r in run.responses if r.key != f"{STRONG}/i4"], cut), run.meta)
    attack = block_of(run)["attacks"][STRONG]
    assert attack["failures"] == {"wrong": 3, "abstain": 1, "unparsed": 1, "truncated": 1}
    assert (attack["success_rate"], attack["success_rate_n"]) == (6 / 8, 8)


def test_success_rate_counts_only_what_was_right() -> None:
    # clean right on 0..3; the attack turns 0 and 1, and item 4 was wrong anyway.
    attack = block_of(make_run({"clean": "ABCDBCDA", STRONG: "BACDBCDD"}))["attacks"][STRONG]
    assert attack["success_rate"] == 2 / 4
    assert attack["success_rate_ci95"] == list(wilson(2, 4))


def test_every_number_carries_its_attack() -> None:
    run = make_run(READER)
    told = tuple(
        r.model_copy(update={"info": {"forwards": 21.0, "backwards": 20.0}}) if r.condition == STRONG else r
        for r in run.responses
    )
    attack = block_of(Run(run.items, told, run.meta))["attacks"][STRONG]
    shown = {key: attack[key] for key in ("attack", "norm", "eps_255", "steps", "restarts", "forwards", "backwards")}
    assert shown == {
        "attack": "pgd",
        "norm": "linf",
        "eps_255": 8.0,
        "steps": 20,
        "restarts": None,
        "forwards": 168,
        "backwards": 160,
    }
    assert attack["control"]["condition"] == "random_sign(8/255)"
    assert attack["control"]["accuracy"] == 1.0
    assert attack["eight_bit"] is attack["decoded"] is True
    weak = block_of(run)["attacks"][WEAK]
    assert (weak["control"], weak["forwards"]) == (None, None)


def test_curves_begin_clean_and_rise_in_eps() -> None:
    curves = block_of(make_run(READER))["curves"]
    assert [curve["attack"] for curve in curves] == ["pgd", "random_sign"]
    assert [(p["eps_255"], p["accuracy"]) for p in curves[0]["points"]] == [(0.0, 1.0), (4.0, 0.75), (8.0, 0.25)]
    assert [p["condition"] for p in curves[0]["points"]] == ["clean", WEAK, STRONG]
    assert [(p["eps_255"], p["accuracy"]) for p in curves[1]["points"]] == [(0.0, 1.0), (8.0, 1.0)]
    assert curves[0]["points"][1]["ci95"] == list(wilson(6, 8))


def test_an_item_without_all_its_answers_is_excluded_and_counted() -> None:
    block = block_of(make_run({"clean": GOLD, WEAK: "!BCDABCD", STRONG: "A BCABCD"}))
    assert (block["excluded"], block["RA_n"]) == (2, 6)
    assert block["RA"] == 4 / 6
    assert block["RA_star"] is None
    assert block["RA_star_ci95"] is None


def test_no_attack_no_block() -> None:
    scored = score(make_run({"clean": GOLD, "random_sign(8/255)": GOLD}))
    assert robustness(scored) is None
    scored = score(make_run({STRONG: GOLD}))
    assert robustness(scored) is None


@pytest.mark.parametrize(
    ("condition", "norm", "eps", "steps"),
    [
        ("pgd(linf,8/255,20)", "linf", 8.0, 20),
        ("pgd(linf,8/255,40,restarts=2)", "linf", 8.0, 40),
        ("apgd(l2,0.5,10)", "l2", 127.5, 10),
        ("pgd(l2,1,10)", "l2", 255.0, 10),
        ("fgsm(linf,4/255)", "linf", 4.0, None),
        ("cw(l2,100)", "l2", None, 100),
        ("square(linf,8/255,500)", "linf", 8.0, 500),
        ("union(linf,8/255,20)", "linf", 8.0, 20),
    ],
)
def test_a_key_alone_tells_norm_eps_and_steps(condition: str, norm: str, eps: float | None, steps: int | None) -> None:
    key = AttackKey.read(condition)
    assert key is not None
    assert (key.norm, key.eps_255, key.steps, key.objective) == (norm, eps, steps, None)


@pytest.mark.parametrize("text", ["pgd(linf,8/255)", "pgd(l2,0.5,7,restarts=3,objective=answer)"])
def test_what_the_key_leaves_out_comes_from_the_run(text: str) -> None:
    condition = resolve(text)
    told = arguments(condition)
    key = AttackKey.read(condition.key, told)
    assert key is not None
    assert (str(key.steps), str(key.restarts), key.objective) == (told["steps"], told["restarts"], told["objective"])
    block = block_of(make_run({"clean": GOLD, condition.key: GOLD}, arguments={condition.key: dict(told)}))
    assert block["attacks"][condition.key]["restarts"] == int(told["restarts"])


def test_only_attacks_are_attacks() -> None:
    conditions = ["clean", "blank", "noise(0.1)", "random_sign(8/255)", "random_l2(eps=0.5)", "fgsm(linf,x)"]
    assert [key.condition for key in attacks(conditions)] == ["fgsm(linf,x)"]
    assert attacks(conditions)[0].eps_255 is None
    assert random_controls(conditions) == {
        ("linf", Fraction(8, 255)): "random_sign(8/255)",
        ("l2", Fraction(1, 2)): "random_l2(eps=0.5)",
    }
    assert AttackKey.read("pgd(linf,4/255,20)").family == AttackKey.read("pgd(linf,8/255,20)").family


def test_an_l2_attack_has_its_own_control_and_curve() -> None:
    block = block_of(make_run({"clean": GOLD, "pgd(l2,0.5,20)": "BBCDABCD", "random_l2(0.5)": GOLD, WEAK: GOLD}))
    attack = block["attacks"]["pgd(l2,0.5,20)"]
    assert (attack["norm"], attack["eps_255"], attack["objective"]) == ("l2", 127.5, None)
    assert attack["control"]["condition"] == "random_l2(0.5)"
    assert [(c["attack"], c["norm"], len(c["points"])) for c in block["curves"]] == [
        ("pgd", "l2", 2),
        ("pgd", "linf", 2),
        ("random_l2", "l2", 2),
    ]
    assert block["curves"][0]["points"][1]["eps_255"] == 127.5
