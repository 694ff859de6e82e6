"""Two processes take the same step as one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from medproof.training.recipe import Recipe
from medproof.training.sft import train

pytestmark = pytest.mark.slow


def test_two_processes_are_one(recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "medproof"]
    done = subprocess.run(
        [*launch, "train", str(path), "--out", str(tmp_path / "two"), "--stop-at", "1", "--device", "cpu"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    state = json.loads((tmp_path / "two" / "checkpoints" / "step-000001" / "trainer.json").read_text(encoding="utf-8"))
    assert state["processes"] == 2
    train(recipe, tmp_path / "one", device="cpu", stop_at=1)
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    logs = [(tmp_path / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines() for name in ("one", "two")]
    assert len(logs[0]) == len(logs[1]) == 1
    loss = [json.loads(rows[0])["loss"] for rows in logs]
    assert loss[0] == pytest.approx(loss[1], rel=1e-5)
    # Adam's first step is lr * sign(g) where |g| is tiny, so compare almost all weights and not the worst one.
    off = torch.cat([(one[name] - two[name]).abs().flatten() for name in one])
    assert float((off > 1e-5).float().mean()) < 0.01


@pytest.mark.parametrize(("processes", "torn_down"), [("1", True), ("2", False)])
def test_a_launched_process_leaves_without_taking_the_interpreter_down(processes: str, torn_down: bool) -> None:
    """Threads of the process group may still run then, and abort it: exit code -6 after a training that went well."""
    script = "import atexit; from medproof.cli import main; atexit.register(print, 'torn down'); main(['{}'])"
    for word, code in (("--version", 0), ("no-such-command", 2)):
        done = subprocess.run(
            [sys.executable, "-c", script.format(word)],
            env=os.environ | {"WORLD_SIZE": processes},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code
        assert ("torn down" in done.stdout) == torn_down
        assert (done.stdout + done.stderr).replace("torn down", "").strip(), "what was said is flushed"
