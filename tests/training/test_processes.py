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

SCRIPT = """
import sys
from pathlib import Path
from medproof.training.recipe import load_recipe
from medproof.training.sft import train
train(load_recipe(Path(sys.argv[1])), Path(sys.argv[2]), device="cpu", stop_at=1)
"""


def test_two_processes_are_one(recipe: Recipe, tmp_path: Path) -> None:
    path, script = tmp_path / "recipe.yaml", tmp_path / "script.py"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
    script.write_text(SCRIPT, encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, str(script), str(path), str(tmp_path / "two")],
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
