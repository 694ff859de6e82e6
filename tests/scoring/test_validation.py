"""What a number under attack may be called."""

from typing import Any

import pytest
from planted import GOLD, Run, make_run

from medproof.scoring.attack_key import attacks as attacks_of
from medproof.scoring.robustness import robustness
from medproof.scoring.scored import score
from medproof.scoring.validation import validation

ATTACK = "pgd(linf,8/255,20)"


def sanity(*verdicts: str, attacks: tuple[str, ...] = (ATTACK,)) -> dict[str, Any]:
    checks = [{"name": f"c{i}", "title": f"Check {i}", "verdict": verdict} for i, verdict in enumerate(verdicts)]
    return {"checks": checks, "attacks": list(attacks), "subject": ATTACK, "n_items": 64}


def test_only_passed_checks_earn_the_words() -> None:
    block = validation(sanity("passed", "passed"), attacks_of([ATTACK]))
    assert (block["state"], block["name"], block["subject"]) == ("validated", "robust accuracy", ATTACK)


@pytest.mark.parametrize(
    ("given", "attacks", "name"),
    [
        (None, [ATTACK], "accuracy under these attacks (not checked: run with --sanity)"),
        (sanity(), [ATTACK], "accuracy under these attacks (not checked: every check not run)"),
        (
            sanity("passed", "failed", "not run"),
            [ATTACK],
            'accuracy under these attacks (not validated: "Check 1" failed)',
        ),
        (sanity("passed", "not run"), [ATTACK], 'accuracy under these attacks (not checked: "Check 1" not run)'),
        (
            sanity("passed"),
            [ATTACK, "fgsm(linf,8/255)"],
            "accuracy under these attacks "
            '(not checked: "fgsm(linf,8/255)" came after the checks: run with --sanity again)',
        ),
        (
            sanity(*["failed"] * 5),
            [ATTACK],
            'accuracy under these attacks (not validated: "Check 0", "Check 1", "Check 2" and 2 more failed)',
        ),
    ],
)
def test_everything_else_does_not(given: dict[str, Any] | None, attacks: list[str], name: str) -> None:
    block = validation(given, attacks_of(attacks))
    assert block["name"] == name
    assert "robust" not in block["name"]


def test_an_attack_of_another_norm_is_not_checked_by_this_one() -> None:
    length, closest = "pgd(l2,0.5,20)", "cw(l2,100)"
    given = sanity("passed", attacks=(ATTACK, length, closest))
    assert validation(given, attacks_of([ATTACK, closest]))["state"] == "validated"
    block = validation(given, attacks_of([ATTACK, length]))
    assert block["reason"] == '"pgd(l2,0.5,20)" not of the checked norm: give each norm a run'


def test_the_run_carries_its_checks_into_the_summary() -> None:
    run = make_run({"clean": GOLD, ATTACK: GOLD})
    block = robustness(score(Run(run.items, run.responses, run.meta, sanity("passed", "failed"))))
    assert block is not None
    assert block["validation"]["state"] == "not validated"
    assert [check["verdict"] for check in block["validation"]["checks"]] == ["passed", "failed"]
