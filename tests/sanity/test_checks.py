"""Each check catches the failure it is made for, and lets a sound attack pass."""

import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scoring"))
from planted import GOLD, ITEMS, Run, make_run

from medproof.sanity import checks
from medproof.sanity.catalogue import CATALOGUE
from medproof.sanity.checks import Check
from medproof.scoring.scored import Scored, score

ATTACK, HARDER, ZERO, OTHER = "pgd(linf,8/255,20)", "pgd(linf,8/255,40)", "pgd(linf,0/255,20)", "square(linf,8/255,9)"
ALL_WRONG = "BCDABCDA"


def scored(answers: Mapping[str, str], infos: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None) -> Scored:
    """Planted answers, with numbers by condition and item."""
    run = make_run({"clean": GOLD, **answers})
    told = tuple(
        r.model_copy(update={"info": dict((infos or {}).get(r.condition, {}).get(r.item_id, {}))})
        for r in run.responses
    )
    return score(Run(run.items, told, run.meta))


def everyone(**numbers: float) -> dict[str, dict[str, float]]:
    return {item.id: dict(numbers) for item in ITEMS}


def test_eps_zero_reproduces_clean() -> None:
    assert checks.eps_zero(scored({ZERO: GOLD}), ZERO).verdict == "passed"
    changed = checks.eps_zero(scored({ZERO: "BBCDABCD"}), ZERO)
    assert (changed.verdict, changed.numbers["answers_changed"]) == ("failed", 1)


def test_eps_zero_looks_at_the_pixels_too() -> None:
    run = make_run({"clean": GOLD, ZERO: GOLD})
    moved = run.responses[-1].model_copy(update={"image_sha256": "1" * 64})
    found = checks.eps_zero(score(replace(run, responses=(*run.responses[:-1], moved))), ZERO)
    assert (found.verdict, found.numbers["images_changed"], found.numbers["answers_changed"]) == ("failed", 1, 0)


def test_success_that_falls_with_eps_is_caught() -> None:
    ladder = ["pgd(linf,2/255,20)", "pgd(linf,4/255,20)", ATTACK]
    rising = scored(dict(zip(ladder, (GOLD, "BCCDABCD", ALL_WRONG), strict=True)))
    assert checks.monotone(rising, ladder).verdict == "passed"
    falling = checks.monotone(scored(dict(zip(ladder, (GOLD, "BCCDABCD", "BBCDABCD"), strict=True))), ladder)
    assert (falling.verdict, falling.numbers["largest_rise"]) == ("failed", 1 / 8)


def test_an_attack_that_fails_without_a_bound_is_caught() -> None:
    free = "pgd(linf,255/255,20)"
    assert checks.unbounded(scored({free: ALL_WRONG}), free).verdict == "passed"
    stuck = checks.unbounded(scored({free: "ABCAABCA"}), free)
    assert (stuck.verdict, stuck.numbers["accuracy"], stuck.numbers["chance"]) == ("failed", 6 / 8, 0.25)


@pytest.mark.parametrize("name", ["single_step", "transfer", "black_box", "noise"])
def test_whatever_turns_what_the_attack_does_not_is_caught_per_question(name: str) -> None:
    assert checks.beats(name, scored({ATTACK: "BCDDABCD", OTHER: "BCCDABCD"}), ATTACK, OTHER).verdict == "passed"
    # The attack turns more questions, but not this one.
    found = checks.beats(name, scored({ATTACK: "BCDABCDD", OTHER: "ABCDABCA"}), ATTACK, OTHER)
    assert (found.verdict, found.numbers["only_by_other"], found.numbers["turned_by_attack"]) == ("failed", 1, 7)


def test_questions_wrong_from_the_start_prove_nothing() -> None:
    run = make_run({"clean": "BBCDABCD", ATTACK: "ABCDABCD", OTHER: "BBCDABCD"})
    assert checks.beats("noise", score(run), ATTACK, OTHER).verdict == "passed"


def test_an_attack_that_gains_by_more_effort_is_caught() -> None:
    more = [HARDER, "pgd(linf,8/255,20,restarts=2)"]
    same = {ATTACK: "BCCDABCD", more[0]: "BCCDABCD", more[1]: "BCCDABCD"}
    assert checks.effort(scored(same), ATTACK, more).verdict == "passed"
    found = checks.effort(scored({**same, more[1]: "BCDDABCD"}), ATTACK, more)
    assert (found.verdict, found.numbers[more[1]], found.numbers[f"{more[1]}: p"]) == ("failed", 5 / 8, 1.0)


def test_a_loss_that_still_rises_is_caught() -> None:
    answers = {ZERO: GOLD, ATTACK: "BCDAABCD", HARDER: "BCDAABCD"}
    losses = {ZERO: everyone(loss=-5.0), ATTACK: everyone(loss=-1.05), HARDER: everyone(loss=-1.0)}
    done = checks.optimised(scored(answers, losses), ZERO, ATTACK, HARDER)
    assert (done.verdict, done.numbers["survivors"]) == ("passed", 4)
    assert done.numbers["median_gain"] == pytest.approx(0.05 / 4)
    rising = checks.optimised(scored(answers, {**losses, ATTACK: everyone(loss=-2.0)}), ZERO, ATTACK, HARDER)
    assert (rising.verdict, rising.numbers["median_gain"]) == ("failed", 0.25)


def test_nothing_is_left_to_optimise_where_nothing_survives() -> None:
    found = checks.optimised(scored({ZERO: GOLD, ATTACK: ALL_WRONG, HARDER: ALL_WRONG}), ZERO, ATTACK, HARDER)
    assert (found.verdict, found.numbers["survivors"]) == ("passed", 0)


STEPS = {"backwards": 20.0, "zero_gradients": 0.0, "nan": 0.0}


@pytest.mark.parametrize("bad", [{"zero_gradients": 20.0}, {"zero_gradients": 1.0}, {"nan": 1.0}, {"backwards": 0.0}])
def test_masked_gradients_are_caught_on_survivors(bad: dict[str, float]) -> None:
    answers = {ATTACK: "BBCDABCD"}
    assert checks.gradients(scored(answers, {ATTACK: everyone(**STEPS)}), ATTACK).verdict == "passed"
    survivor = {ATTACK: everyone(**STEPS) | {"i3": {**STEPS, **bad}}}
    assert checks.gradients(scored(answers, survivor), ATTACK).verdict == "failed"
    turned = {ATTACK: everyone(**STEPS) | {"i0": {**STEPS, **bad}}}
    assert checks.gradients(scored(answers, turned), ATTACK).verdict == "passed", "it was turned all the same"


def test_an_attack_that_takes_no_gradient_is_caught() -> None:
    assert checks.gradients(scored({ATTACK: GOLD}), ATTACK).verdict == "failed"


def test_a_success_that_the_reply_does_not_show_is_caught() -> None:
    claimed = {ATTACK: everyone(success=1.0)}
    assert checks.silent_success(scored({ATTACK: ALL_WRONG}, claimed), [ATTACK]).verdict == "passed"
    lost = checks.silent_success(scored({ATTACK: "ACDABCDA"}, claimed), [ATTACK])
    assert (lost.verdict, lost.numbers["claimed"], lost.numbers["lost"]) == ("failed", 8, 1)
    # Behind a rationale it is the reply that the attack goes by.
    behind = {ATTACK: everyone(success=1.0, decoded_success=0.0)}
    assert checks.silent_success(scored({ATTACK: GOLD}, behind), [ATTACK]).verdict == "passed"


def test_two_paths_that_choose_differently_are_caught() -> None:
    assert checks.judged_path([(1.0, 1.001), (-2.0, -2.0)]).verdict == "passed"
    apart = checks.judged_path([(1.0, -0.5), (-2.0, -2.0)])
    assert (apart.verdict, apart.numbers["apart"], apart.numbers["largest_nats"]) == ("failed", 1, 1.5)
    assert checks.judged_path([]).verdict == "not run"


def test_a_loss_that_jumps_is_caught() -> None:
    assert checks.smooth([-4.0, -0.001], [0.2, 0.1]).verdict == "passed"
    rough = checks.smooth([-4.0, -4.0], [1.0, 0.6])
    assert (rough.verdict, rough.numbers["relative_change"]) == ("failed", pytest.approx(0.2))
    assert checks.smooth([math.nan], [0.0]).verdict == checks.smooth([0.0], [0.0]).verdict == "not run"


def test_success_that_hangs_on_rounding_is_caught() -> None:
    replayed = "replayed(linf,8/255,20)"
    same = scored({ATTACK: ALL_WRONG, replayed: ALL_WRONG})
    assert checks.precision(same, ATTACK, replayed, "float32", "bfloat16").verdict == "passed"
    lost = checks.precision(scored({ATTACK: ALL_WRONG, replayed: "ACDABCDA"}), ATTACK, replayed, "float32", "bfloat16")
    assert (lost.verdict, lost.numbers["right_again"], lost.numbers["other"]) == ("failed", 1, "bfloat16")


def test_an_attack_that_misses_planted_adversaries_is_caught() -> None:
    assert checks.planted(19, 0, 20).verdict == "passed"
    assert checks.planted(18, 0, 20).verdict == "failed"
    assert checks.planted(20, 11, 20).verdict == checks.planted(0, 0, 0).verdict == "not run"


def test_answers_that_are_missing_leave_a_check_open() -> None:
    empty = scored({ATTACK: " " * 8, OTHER: GOLD, ZERO: "!" * 8, HARDER: GOLD})
    found = [
        checks.eps_zero(empty, ZERO),
        checks.monotone(empty, [ATTACK, HARDER]),
        checks.unbounded(empty, ATTACK),
        checks.beats("noise", empty, ATTACK, OTHER),
        checks.effort(empty, ATTACK, [HARDER]),
        checks.silent_success(empty, [ATTACK]),
        checks.precision(empty, ATTACK, OTHER, "float32", "bfloat16"),
    ]
    assert {check.verdict for check in found} == {"not run"}
    assert all(check.reason for check in found)


def test_every_check_is_documented_and_the_six_indicators_are_there() -> None:
    told = [Check(name, "passed").to_json() for name in CATALOGUE]
    assert all(row["title"] and row["measures"] and row["means"] and row["remedy"] for row in told)
    assert sorted(row["indicator"][:2] for row in told if row["indicator"]) == ["I1", "I2", "I3", "I4", "I5", "I6"]
