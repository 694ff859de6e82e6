"""medproof compare: two runs, or two conditions of one, on the same items."""

import json
from pathlib import Path

import pytest
from cli_fakes import Cli, FakeModel

ARGS = ("run", "--model", "fake", "--condition", "clean", "--condition", "blank")


@pytest.fixture
def two(cli: Cli, data: Path, fake_model: FakeModel) -> None:
    assert cli(*ARGS, "--data", data, "--out", "a").code == 0
    assert cli(*ARGS, "--data", data, "--out", "b", "--mode", "think").code == 0


@pytest.mark.usefixtures("two")
def test_shared_conditions_and_the_file(cli: Cli) -> None:
    ran = cli("compare", "a", "b", "--out", "c")
    assert ran.code == 0, ran.err
    rows = json.loads(Path("c/compare.json").read_text(encoding="utf-8"))["pairs"]
    assert [(row["a"], row["only_a"], row["only_b"], row["p_holm"]) for row in rows] == [
        ("clean", 0, 0, 1.0),
        ("blank", 0, 0, 1.0),
    ]
    assert "clean" in ran.out


@pytest.mark.usefixtures("two")
def test_one_condition_against_another(cli: Cli) -> None:
    ran = cli("compare", "a", "b", "--condition", "clean", "--against", "blank", "--out", "c")
    assert ran.code == 0, ran.err
    (row,) = json.loads(Path("c/compare.json").read_text(encoding="utf-8"))["pairs"]
    assert (row["accuracy_a"], row["accuracy_b"], row["only_a"], row["only_b"]) == (1.0, 0.25, 9, 0)
    assert row["p"] == 2 / 2**9
    assert "clean / blank" in ran.out


@pytest.mark.usefixtures("two")
def test_refusals(cli: Cli, data: Path) -> None:
    lacking = cli("compare", "a", "b", "--condition", "shuffled")
    assert (lacking.code, "holds no condition 'shuffled'" in lacking.complaint) == (2, True)
    uneven = cli("compare", "a", "b", "--condition", "clean", "--against", "clean", "--against", "blank")
    assert "give one --against for each --condition" in uneven.complaint
    cli(*ARGS, "--data", data, "--out", "few", "--limit", 3)
    other = cli("compare", "a", "few")
    assert (other.code, "compare runs over the same items" in other.complaint) == (2, True)
    assert "would compare a with b: clean / clean" in cli("compare", "a", "b", "--condition", "clean", "--dry-run").out
