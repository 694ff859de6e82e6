"""`medproof bench run`: all protocols and perturbations by one command, and what it leaves out."""

import json
from pathlib import Path

import pytest
from cli_fakes import Cli, FakeModel

from medproof.runs.store import read_run
from planted_corpus import planted, write

PROTOCOLS = ["clean", "steps(teacher_forced)", "steps(teacher_forced,image=blank)"]
PROTOCOLS += ["steps(self_conditioned)", "steps(joint)"]


@pytest.fixture
def bench(cli: Cli, tmp_path: Path) -> Path:
    assert cli("bench", "build", "--data", write(tmp_path / "corpus", planted()), "--out", "b").code == 0
    return tmp_path / "b"


def test_protocols_run_resume_and_report(cli: Cli, bench: Path, fake_model: FakeModel) -> None:
    words = ("bench", "run", "--model", "fake", "--data", bench, "--perturbations", "swap,removal", "--out", "r")
    ran = cli(*words)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1] == "next: medproof report r"
    stored = read_run(Path("r")).meta["conditions"]
    assert stored[:5] == PROTOCOLS
    assert {"shuffled", "blank", "masked(region,grey)", "masked(elsewhere,grey)"} <= set(stored)
    asked = len(fake_model.answered)
    assert cli(*words).code == 0
    assert len(fake_model.answered) == asked
    assert cli("report", "r").code == 0
    chain = json.loads(Path("r/report.json").read_text(encoding="utf-8"))["chain"]
    assert set(chain["protocols"]) == {key for key in PROTOCOLS if "blank" not in key}
    assert chain["chains"] == chain["protocols"]["clean"]["n"] == 16
    assert chain["own_errors"]["all"]["n"] == 62


def test_a_dry_run_plans_everything(cli: Cli, bench: Path, no_model: None) -> None:
    ran = cli("bench", "run", "--model", "nano", "--data", bench, "--out", "r", "--dry-run")
    assert ran.code == 0
    lines = [line.strip() for line in ran.out.splitlines()]
    assert [line for line in lines if line.startswith(("clean", "steps"))] == PROTOCOLS
    assert {"hint(neutral,peer)", "pgd(linf,4/255,20) (attack)", "rotated(3)", "cue(box,elsewhere)"} <= set(lines)
    assert "rotated(4)" not in lines  # no item has more than four options
    assert not Path("r").exists()


def test_an_api_model_leaves_out_what_needs_gradients(cli: Cli, bench: Path, no_model: None) -> None:
    model = "openai:http://127.0.0.1:1/v1#m"
    ran = cli("bench", "run", "--model", model, "--data", bench, "--out", "r", "--dry-run")
    assert "left out: fgsm(linf,4/255), pgd(linf,4/255,20)" in ran.err
    assert "random_sign(4/255)" in ran.out
    assert "pgd(" not in ran.out


@pytest.mark.parametrize(
    ("words", "conditions"),
    [
        (("--protocol", "joint", "--perturbations", "none"), ["clean", "steps(joint)"]),
        (("--protocol", "independent", "--perturbations", "swap"), ["clean", "shuffled"]),
    ],
)
def test_some_of_it(cli: Cli, bench: Path, words: tuple[str, ...], conditions: list[str], no_model: None) -> None:
    ran = cli("bench", "run", "--model", "nano", "--data", bench / "items.jsonl", *words, "--out", "r", "--dry-run")
    assert [line.strip() for line in ran.out.splitlines() if line.startswith("  ")] == conditions


def test_bad_input(cli: Cli, bench: Path, data: Path, no_model: None) -> None:
    words = ("bench", "run", "--model", "nano", "--out", "r", "--data")
    assert "no protocol is called 'x'" in cli(*words, bench, "--protocol", "x").complaint
    assert "no family of perturbations is called 'x'" in cli(*words, bench, "--perturbations", "x").complaint
    staged = cli(*words, data)
    assert staged.code == 2
    assert "make a benchmark first (medproof bench build" in staged.complaint
