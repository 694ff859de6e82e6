"""The checks on a real model: all are made, nothing is answered twice, and a masked gradient is found out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from medproof.conditions import resolve
from medproof.datasets import Dataset, load
from medproof.errors import UserError
from medproof.evaluation.loop import evaluate
from medproof.evaluation.provenance import run_meta
from medproof.models import load as load_model
from medproof.models.qwen_vl import QwenVL
from medproof.runs.store import RunStore, read_run
from medproof.sanity import plan, planted, runner
from medproof.sanity.catalogue import CATALOGUE
from medproof.scoring.summary import summarise

CONDITIONS = [resolve("clean"), resolve("pgd(linf,8/255,2)")]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "QUERIES", 3)
    monkeypatch.setattr(planted, "INNER", 6)
    monkeypatch.setattr(runner, "PLANTED_ITEMS", 1)


def answered(model: QwenVL, data: Dataset, out: Path) -> Path:
    """A run of `data` under CONDITIONS."""
    meta = run_meta(model, "nano", data, CONDITIONS, mode="direct", seed=0)
    with RunStore(out).create(meta, data.items) as store:
        evaluate(model, data, CONDITIONS, store, mode="direct", seed=0)
    return out


def check(model: Any, data: Dataset, run: Path) -> dict[str, dict[str, Any]]:
    path = runner.run_sanity(model, data, CONDITIONS, run, model_spec="nano", mode="direct", seed=0, n_items=3)
    return {row["name"]: row for row in json.loads(path.read_text(encoding="utf-8"))["checks"]}


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_every_check_is_made_and_nothing_is_answered_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = load_model("nano", device="cpu"), load("sample").filter(split="test", limit=4)
    assert isinstance(model, QwenVL)
    run = answered(model, data, tmp_path / "run")
    before = {name: tensor.clone() for name, tensor in model.net.state_dict().items()}
    asked: list[str] = []
    generate = QwenVL.generate

    def counted(self: QwenVL, views: Sequence[Any], *rest: Any) -> Any:
        asked.extend(view.condition for view in views)
        return generate(self, views, *rest)

    monkeypatch.setattr(QwenVL, "generate", counted)
    checks = check(model, data, run)
    assert list(checks) == list(CATALOGUE)
    assert all(row["verdict"] != "not run" for name, row in checks.items() if name != "planted"), checks
    for name in ("eps_zero", "smooth", "judged_path", "gradients", "silent_success"):
        assert checks[name]["verdict"] == "passed", checks[name]
    assert not {"clean", "pgd(linf,8/255,2)"} & set(asked), "what the run holds is copied"
    assert asked.count("transfer(linf,8/255,2)") == asked.count("replayed(linf,8/255,2)") == 3
    asked.clear()
    assert check(model, data, run) == checks
    assert asked == []
    assert all(torch.equal(before[name], tensor) for name, tensor in model.net.state_dict().items())
    block = summarise(read_run(run))["robust"]
    assert block["validation"]["subject"] == "pgd(linf,8/255,2)"
    assert {point["steps"] for curve in block["validation"]["convergence"] for point in curve["points"]} == {1, 2, 4}


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_a_model_that_masks_its_gradients_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = load_model("nano", device="cpu"), load("sample").filter(split="test", limit=3)
    assert isinstance(model, QwenVL)
    loss = QwenVL.loss

    def masked(self: QwenVL, pixels: Sequence[torch.Tensor], *rest: Any) -> torch.Tensor:
        return loss(self, pixels, *rest).detach() + 0 * torch.stack([image.sum() for image in pixels])

    monkeypatch.setattr(QwenVL, "loss", masked)
    checks = check(model, data, answered(model, data, tmp_path / "run"))
    assert checks["gradients"]["verdict"] == "failed"
    assert checks["gradients"]["numbers"]["zero_share_of_steps"] == 1.0
    assert summarise(read_run(tmp_path / "run"))["robust"]["validation"]["state"] == "not validated"


class Blackbox:
    """A model of the first level."""

    name = "api"
    grid = None


def test_a_model_without_gradients_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs gradients"):
        check(Blackbox(), load("sample").filter(limit=2), tmp_path)
    assert not (tmp_path / "sanity").exists()
