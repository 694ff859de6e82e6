"""medproof run --sanity: refused where there is nothing to check, printed where there is."""

from pathlib import Path
from typing import Any

import pytest
from cli_fakes import Cli, FakeModel

from medproof.runs.sanity_file import write_sanity
from medproof.runs.store import read_run

ATTACK = "pgd(linf,8/255,20)"


def checks(*verdicts: str) -> dict[str, Any]:
    """sanity.json with one check per verdict."""
    rows = [
        {
            "name": f"check{i}",
            "title": f"Check {i}",
            "indicator": "",
            "measures": "something",
            "verdict": verdict,
            "numbers": {"n": 3, "share": 0.25},
            "reason": "",
            "means": "It is weak.",
            "remedy": "More steps.",
        }
        for i, verdict in enumerate(verdicts)
    ]
    return {"schema": 1, "subject": ATTACK, "attacks": [ATTACK], "n_items": 12, "checks": rows, "convergence": []}


@pytest.fixture
def attacked(monkeypatch: pytest.MonkeyPatch, fake_model: FakeModel) -> list[dict[str, Any]]:
    """A model whose gradients nobody asks for; `run_sanity` writes what a test has left here."""
    written: list[dict[str, Any]] = []

    def run_sanity(*args: Any, **_: Any) -> Path:
        return write_sanity(args[3], written[-1])

    monkeypatch.setattr("medproof.sanity.runner.run_sanity", run_sanity)
    monkeypatch.setattr("medproof.conditions.check_model", lambda *_: None)
    monkeypatch.setattr("medproof.conditions.perturb", lambda _, views, __: list(views))
    return written


def run(cli: Cli, data: Path, *words: str) -> Any:
    conditions = ("--condition", "clean", "--condition", "blank", "--condition", ATTACK)
    return cli("run", "--model", "fake", "--data", data, "--out", "r", *conditions, *words)


def test_passed_checks_earn_the_words(cli: Cli, data: Path, attacked: list[dict[str, Any]]) -> None:
    attacked.append(checks("passed", "passed"))
    ran = run(cli, data, "--sanity")
    assert ran.code == 0, ran.err
    assert "robust accuracy, worst case RA 100.0 %" in ran.out
    assert "Check 1" in ran.out
    assert "n 3, share 0.25" in ran.out


def test_a_failed_check_takes_them_away_and_says_what_to_do(
    cli: Cli, data: Path, attacked: list[dict[str, Any]]
) -> None:
    attacked.append(checks("passed", "failed"))
    ran = run(cli, data, "--sanity")
    assert ran.code == 0
    assert "robust accuracy" not in ran.out
    assert 'accuracy under these attacks (not validated: "Check 1" failed)' in ran.out
    assert "! Check 1: It is weak. More steps." in ran.out


def test_without_the_flag_nothing_is_checked(cli: Cli, data: Path, attacked: list[dict[str, Any]]) -> None:
    ran = run(cli, data)
    assert ran.code == 0
    assert "robust accuracy" not in ran.out
    assert "not checked: run with --sanity" in ran.out
    assert read_run(Path("r")).sanity is None


@pytest.mark.usefixtures("no_model")
def test_there_must_be_an_attack_to_check(cli: Cli, data: Path) -> None:
    ran = cli("run", "--model", "fake", "--data", data, "--condition", "clean", "--out", "r", "--sanity")
    assert ran.code == 2
    assert "add one, as in --condition 'pgd(linf,8/255,20)'" in ran.complaint


@pytest.mark.usefixtures("no_model")
def test_dry_run_names_the_attack_that_is_checked(cli: Cli, data: Path) -> None:
    ran = run(cli, data, "--sanity", "--sanity-items", "5", "--dry-run")
    assert ran.code == 0
    assert f"then check {ATTACK} on 5 items" in ran.out


def test_a_damaged_file_is_one_line(cli: Cli, data: Path, attacked: list[dict[str, Any]]) -> None:
    run(cli, data)
    Path("r/sanity.json").write_text("{", encoding="utf-8")
    assert "run with --sanity again" in cli("report", "r").complaint
