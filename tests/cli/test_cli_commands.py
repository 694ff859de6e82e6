"""Help, audit, demo, doctor and train, without a real model."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_fakes import Cli, FakeModel

from medproof import __version__
from medproof.cli import machine, model_checks
from medproof.cli.demo import ACTS, DEMO_MODEL, Act, recipe_of
from medproof.conditions import needs_attack, resolve
from medproof.training.recipe import AnyRecipe

COMMANDS = ("demo", "audit", "train", "run", "report", "compare", "doctor")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(cli: Cli, command: str) -> None:
    ran = cli(*filter(None, (command, "--help")))
    assert ran.code == 0
    wanted = COMMANDS if not command else ("--dry-run",)
    assert all(word in ran.out for word in wanted)


def test_help_is_quick() -> None:
    """Under a second of processor time, start of Python included."""
    code = "import resource, sys\nfrom medproof.cli import invoke\ninvoke(['--help'])\n"
    code += "use = resource.getrusage(resource.RUSAGE_SELF)\nprint(use.ru_utime + use.ru_stime, file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(result.stderr) < 1.0


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"medproof {__version__}\n"


def test_audit_prints_tables_and_writes_json(cli: Cli, data: Path) -> None:
    ran = cli("audit", data, "--out", "a")
    assert ran.code == 0
    stored = json.loads(Path("a/audit.json").read_text(encoding="utf-8"))
    assert set(stored["text_prior"]["by_modality"]) == {"CT", "MRI"}
    assert stored["text_prior"]["accuracy"] is not None
    assert "Text prior by modality" in ran.out
    assert ran.out.splitlines()[-1].startswith("next: medproof run")
    assert cli("audit", data, "--out", "b").out.replace("b/", "a/") == ran.out
    assert Path("a/audit.json").read_bytes() == Path("b/audit.json").read_bytes()


def test_audit_dry_run_counts_only(cli: Cli, data: Path) -> None:
    ran = cli("audit", data, "--dry-run", "--out", "a")
    assert "12 test and 8 training items" in ran.out
    assert not Path("a").exists()


def test_report_with_audit_section(cli: Cli, data: Path, fake_model: FakeModel) -> None:
    cli("run", "--model", "fake", "--data", data, "--condition", "clean", "--out", "r")
    cli("audit", data, "--out", "a")
    ran = cli("report", "r", "--audit", "a", "--out", "page")
    assert ran.code == 0, ran.err
    assert "audit" in json.loads(Path("page/report.json").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("no_model")
def test_demo_dry_run(cli: Cli) -> None:
    ran = cli("demo", "--dry-run", "--limit", 5)
    assert ran.code == 0
    assert ran.out.count("would answer 5 items") == len(ACTS)
    assert not Path("demo").exists()


def test_demo_conditions_are_canonical_and_hold_a_control() -> None:
    """The report needs clean and blank beside every attack: RA is never shown without RA*."""
    for act in ACTS:
        conditions = [resolve(text) for text in act.conditions]
        assert [condition.key for condition in conditions] == list(act.conditions)
        assert {"clean", "blank", "shuffled"} <= set(act.conditions)
        assert any(needs_attack(condition) for condition in conditions)


def test_demo_tells_the_whole_story_and_resumes(
    cli: Cli, fake_model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    acts = (Act("direct", "direct", None, ("clean", "blank")), Act("think", "think", 2, ("clean",)))
    monkeypatch.setattr("medproof.cli.demo.ACTS", acts)
    first = cli("demo", "--limit", 4)
    assert first.code == 0, first.err
    assert len(fake_model.answered) == 10
    numbers = json.loads(Path("demo/report.json").read_text(encoding="utf-8"))
    assert [run["mode"] for run in numbers["runs"]] == ["direct", "think"]
    assert numbers["audit"] == json.loads(Path("demo/audit.json").read_text(encoding="utf-8"))
    page = Path("demo/report.html").read_bytes()
    assert cli("demo", "--limit", 4).code == 0
    assert len(fake_model.answered) == 10
    assert Path("demo/report.html").read_bytes() == page


def test_demo_trains_against_an_attack_that_it_shows_before_and_after(cli: Cli) -> None:
    (act,) = [act for act in ACTS if act.recipe is not None]
    recipe = recipe_of(act.recipe, seed=3)
    assert (recipe.seed, recipe.model.init) == (3, DEMO_MODEL)
    assert recipe.adversarial is not None
    attack = f"pgd(linf,{recipe.adversarial.eps},20)"
    before = [one for one in ACTS if one.recipe is None and one.mode == act.mode and one.items == act.items]
    assert attack in act.conditions
    assert any(attack in one.conditions for one in before)
    ran = cli("demo", "--dry-run", "--limit", 5)
    assert f"would train {DEMO_MODEL} for {recipe.optim.steps} steps" in ran.out


def test_demo_trains_once_and_asks_what_it_trained(
    cli: Cli, fake_model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Path] = []

    def run_recipe(recipe: AnyRecipe, folder: Path, *_: object) -> Path:
        trained.append(folder)
        told = {"kind": "grpo", "recipe": recipe.model_dump(mode="json"), "steps": recipe.optim.steps}
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "training.json").write_text(json.dumps(told), encoding="utf-8")
        (folder / "metrics.jsonl").write_text('{"step": 1, "reward": 0.5}\n', encoding="utf-8")
        return folder / "model"

    monkeypatch.setattr("medproof.cli.demo.run_recipe", run_recipe)
    acts = (Act("direct", "direct", None, ("clean",)), Act("robust", "direct", 2, ("clean",), ACTS[-1].recipe))
    monkeypatch.setattr("medproof.cli.demo.ACTS", acts)
    for _ in range(2):
        ran = cli("demo", "--limit", 4)
        assert ran.code == 0, ran.err
    assert trained == [Path("demo/training/robust")]
    numbers = json.loads(Path("demo/report.json").read_text(encoding="utf-8"))
    assert [run["model"] for run in numbers["runs"]] == [DEMO_MODEL, "demo/training/robust/model"]
    assert [training["name"] for training in numbers["training"]] == ["robust"]


def test_doctor_measures_the_model(cli: Cli, fake_model: FakeModel) -> None:
    ran = cli("doctor", "--model", "fake")
    assert ran.code == 0
    for words in ("batch invariance, scores", "batch invariance, text", "determinism", "[dicom]", "memory", "torch"):
        assert words in ran.out
    assert "next: medproof demo" in ran.out


def test_doctor_warns_of_a_model_that_answers_otherwise_in_a_batch() -> None:
    alone, together = [np.log([0.9, 0.1])], [np.log([0.2, 0.8])]
    assert model_checks.score_check("b", alone, together).state == "warn"
    assert model_checks.score_check("b", alone, alone).state == "ok"
    assert "--batch-tokens 1" in model_checks.score_check("b", alone, together).remedy
    assert model_checks.text_check("t", ["a"], ["b"]).state == "warn"
    assert model_checks.determinism_check(alone, [alone[0] + 1e-12]).state == "warn"


def test_doctor_warns_of_old_versions() -> None:
    assert machine.version_check("torch", "2.13.0+cpu", "2.11").state == "ok"
    assert machine.version_check("torch", "2.9.1", "2.11").state == "warn"
    assert machine.version_check("torch", "3.0", "2.11").state == "ok"


def test_mixed_views_have_mixed_sizes(fake_model: FakeModel) -> None:
    views = model_checks.mixed_views(fake_model)
    assert len({view.image.shape for view in views if view.image is not None}) > 1


def test_train_dry_run_counts(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: small\noptim: {steps: 3, batch_size: 4}\n")
    ran = cli("train", "r.yaml", "optim.steps=7", "--dry-run")
    assert ran.code == 0, ran.err
    assert "7 steps of 4 examples" in ran.out
    assert "runs/small" in ran.out


def test_a_stage_without_a_terminal_is_one_line(cli: Cli, data: Path, fake_model: FakeModel) -> None:
    ran = cli("run", "--model", "fake", "--data", data, "--condition", "clean", "--out", "r")
    assert [line for line in ran.err.splitlines() if line.startswith("direct: clean: 12/12 in ")]


def test_a_long_stage_without_a_terminal_says_where_it_stands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from medproof.cli import progress

    clock = iter([0.0, 0.0, *(40.0 * step for step in range(1, 20))])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.display() as shown:
        shown.update("attack", 0, 4)
        shown.update("attack", 2, 4)
        shown.update("attack", 4, 4)
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("attack: 2/4, ") and line.endswith(" s left") for line in lines)
    assert not any("4/4, " in line for line in lines)
    assert lines[-1].startswith("attack: 4/4 in ")
