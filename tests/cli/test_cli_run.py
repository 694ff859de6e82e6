"""medproof run: answers, resumes, tells what is missing, and its exit code is 0 only when nothing is."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import Cli, FakeModel

from medproof.runs.store import read_run

ARGS = ("run", "--model", "fake", "--condition", "clean", "--condition", "blank", "--condition", "shuffled")


def meta(run: Path) -> dict[str, Any]:
    content = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def test_a_run_answers_scores_and_names_the_next_command(cli: Cli, data: Path, fake_model: FakeModel) -> None:
    ran = cli(*ARGS, "--data", data, "--out", "r")
    assert ran.code == 0, ran.err
    assert len(fake_model.answered) == 36
    rows = {
        words[0]: words[1:3] for line in ran.out.splitlines() if len(words := line.split()) == 9 and words[1].isdigit()
    }
    assert rows["clean"] == ["12", "100.0"]
    assert rows["blank"] == ["12", "25.0"]
    assert "clean minus shuffled image" in ran.out
    assert ran.out.splitlines()[-1] == "next: medproof report r"
    report = cli("report", "r")
    assert report.code == 0
    assert Path("r/report.html").stat().st_size > 10_000
    numbers = json.loads(Path("r/report.json").read_text(encoding="utf-8"))
    assert numbers["conditions"]["clean"]["accuracy"] == 1.0


def test_run_json_says_what_decides_the_run(cli: Cli, data: Path, fake_model: FakeModel) -> None:
    cli(*ARGS, "--data", data, "--out", "r", "--seed", 3, "--limit", 6, "--mode", "think")
    stored = meta(Path("r"))
    assert stored["conditions"] == ["clean", "blank", "shuffled"]
    assert (stored["seed"], stored["limit"], stored["mode"], stored["split"]) == (3, 6, "think", "test")
    assert (stored["weights_hash"], stored["model"]) == ("w" * 64, "fake")
    assert stored["text_prior"]["fit"] == "pooled"
    assert stored["text_prior"]["given_modality"] is not None
    assert len(read_run(Path("r")).items) == 6


def test_a_prior_is_never_scored_on_what_it_was_fitted_on(cli: Cli, data: Path, fake_model: FakeModel) -> None:
    cli(*ARGS, "--data", data, "--out", "r", "--split", "all")
    assert meta(Path("r"))["text_prior"] is None


def test_running_again_answers_nothing_twice_and_adds_conditions(cli: Cli, data: Path, fake_model: FakeModel) -> None:
    first = cli(*ARGS, "--data", data, "--out", "r")
    again = cli(*ARGS, "--data", data, "--out", "r")
    assert again.code == 0
    assert again.out == first.out
    assert len(fake_model.answered) == 36
    cli(*ARGS, "--condition", "noise(0.1)", "--data", data, "--out", "r")
    assert len(fake_model.answered) == 48
    assert meta(Path("r"))["conditions"][-1] == "noise(0.1)"


def test_interrupted_it_resumes(cli: Cli, data: Path, fake_model: FakeModel) -> None:
    fake_model.interrupt_after = 15
    stopped = cli(*ARGS, "--data", data, "--out", "r", "--batch-tokens", 40)
    assert stopped.code == 130
    assert "run the same command again to resume" in stopped.complaint
    kept = len(read_run(Path("r")).responses)
    assert 0 < kept <= 15
    fake_model.interrupt_after = None
    fake_model.answered.clear()
    assert cli(*ARGS, "--data", data, "--out", "r").code == 0
    assert len(fake_model.answered) == 36 - kept


def test_a_truncated_image_is_told_and_the_rest_kept(cli: Cli, data: Path, fake_model: FakeModel) -> None:
    image = data.parent / "images" / "03.png"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    ran = cli(*ARGS, "--data", data, "--out", "r")
    assert ran.code == 2
    assert "of 12 items could not be answered" in ran.complaint
    assert "03.png" in ran.complaint
    assert "run the same command again" in ran.complaint
    assert "clean" in ran.out
    done = len(fake_model.answered)
    image.write_bytes(whole)
    again = cli(*ARGS, "--data", data, "--out", "r")
    assert again.code == 0, again.err
    assert len(fake_model.answered) < done + 12
    assert all(response.error is None for response in read_run(Path("r")).responses)


@pytest.mark.usefixtures("no_model")
def test_dry_run_loads_no_model_and_writes_nothing(cli: Cli, data: Path) -> None:
    ran = cli(*ARGS, "--condition", "pgd(linf,8/255,20)", "--data", data, "--out", "r", "--dry-run")
    assert ran.code == 0
    assert "12 items (12 images)" in ran.out
    assert "48 answers into r" in ran.out
    assert "pgd(linf,8/255,20) (attack)" in ran.out
    assert not Path("r").exists()


def test_an_attack_needs_a_model_with_gradients(cli: Cli, data: Path, fake_model: FakeModel) -> None:
    ran = cli("run", "--model", "fake", "--data", data, "--condition", "pgd(linf,8/255,2)", "--out", "r")
    assert ran.code == 2
    assert "needs gradients" in ran.complaint
    assert not fake_model.answered


def test_quarantined_rows_are_told_and_counted(cli: Cli, data: Path, fake_model: FakeModel) -> None:
    with data.open("a", encoding="utf-8") as file:
        file.write('{"id": "broken"}\n')
    ran = cli(*ARGS, "--data", data, "--out", "r")
    assert ran.code == 0
    assert "1 rows quarantined; the first: items.jsonl:21" in ran.err
    assert len(meta(Path("r"))["quarantined"]) == 1


def test_another_model_may_not_go_on_with_a_run(cli: Cli, data: Path, fake_model: FakeModel) -> None:
    cli(*ARGS, "--data", data, "--out", "r")
    fake_model.weights_hash = "x" * 64
    ran = cli(*ARGS, "--data", data, "--out", "r")
    assert ran.code == 2
    assert "another run" in ran.complaint
    shutil.rmtree("r")
    assert cli(*ARGS, "--data", data, "--out", "r").code == 0
