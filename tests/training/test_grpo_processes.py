"""Two processes, plain (DDP) and with sharded weights (FSDP2), take the steps of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from grpo_runs import assert_same_weights, changed, rows, weights

from medproof.training.grpo import train
from medproof.training.grpo_recipe import GrpoRecipe

pytestmark = pytest.mark.slow

SCRIPT = """
import sys
from medproof.cli import main
main(["train", sys.argv[1], "--out", sys.argv[2], "--stop-at", sys.argv[3], "--device", "cpu"])
"""

# accelerate reads FSDP from its launcher's environment only where the processes have an accelerator each. This makes it
# see FSDP on processors too; all that follows is its own code, over gloo.
SHARDED = """
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
original = Accelerator.__init__
def sharded(self, **options):
    original(self, **options)
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", cpu_ram_efficient_loading=False
    )
    PartialState._shared_state["distributed_type"] = self.state.distributed_type = DistributedType.FSDP
    self.state.fsdp_plugin = plugin
Accelerator.__init__ = sharded
"""


def launch(script: str, recipe: GrpoRecipe, out: Path, stop_at: int) -> None:
    """Run `script` in two processes."""
    folder = out.parent
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
    (folder / "script.py").write_text(script, encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, str(folder / "script.py"), str(folder / "recipe.yaml"), str(out), str(stop_at)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture
def busy(grpo_recipe: GrpoRecipe) -> GrpoRecipe:
    """All that is computed over the whole batch: batch-scaled advantages, a reference, watching, two micro-batches."""
    return changed(
        grpo_recipe,
        optim={"batch_size": 8, "accumulation": 2, "steps": 2},
        grpo={"beta": 0.1, "scale_rewards": "batch", "num_iterations": 2},
        watch={"every": 1, "items": 5},
    )


def assert_same_step(one: Path, two: Path) -> None:
    left, right = rows(one), rows(two)
    assert [row.keys() for row in left] == [row.keys() for row in right]
    for a, b in zip(left, right, strict=True):
        for name in a:
            assert b[name] == pytest.approx(a[name], rel=2e-3, abs=2e-4), (a["step"], name)
    mine, theirs = weights(one / "model"), weights(two / "model")
    # Adam's first step is lr * sign(g) where |g| is tiny, so compare almost all weights and not the worst one.
    off = torch.cat([(mine[name] - theirs[name]).abs().flatten() for name in mine])
    assert float((off > 1e-5).float().mean()) < 0.02


@pytest.mark.parametrize("script", [SCRIPT, SHARDED + SCRIPT], ids=["ddp", "fsdp2"])
@pytest.mark.parametrize("model", [{}, {"lora": {"r": 4}}], ids=["full", "lora"])
def test_two_processes_are_one(busy: GrpoRecipe, model: dict[str, object], script: str, tmp_path: Path) -> None:
    recipe = changed(busy, model=model)
    launch(script, recipe, tmp_path / "two", 2)
    state = json.loads((tmp_path / "two" / "checkpoints" / "step-000002" / "trainer.json").read_text(encoding="utf-8"))
    assert state["processes"] == 2
    train(recipe, tmp_path / "one", device="cpu")
    assert_same_step(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize("script", [SCRIPT, SHARDED + SCRIPT], ids=["ddp", "fsdp2"])
def test_one_plus_resume_plus_one_is_two(busy: GrpoRecipe, script: str, tmp_path: Path) -> None:
    """Inside a generation cycle, each process with its own groups in flight."""
    launch(script, busy, tmp_path / "whole", 2)
    launch(script, busy, tmp_path / "halves", 1)
    launch(script, busy, tmp_path / "halves", 2)
    assert_same_weights(tmp_path / "whole" / "model", tmp_path / "halves" / "model")
    assert rows(tmp_path / "whole") == rows(tmp_path / "halves")
