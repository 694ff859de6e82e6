"""What can go wrong around the loop: bad rewards and data, a full disk, a checkpoint of another run."""

import json
import resource
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from grpo_runs import assert_same_weights, changed, rows, weights
from safetensors.torch import save_file

from medproof.datasets import write_items
from medproof.errors import UserError
from medproof.training.grpo import train
from medproof.training.grpo_recipe import GrpoRecipe
from medproof.training.session import TrainProgress
from medproof.training.setup import TrainingData


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("raises", r"reward 'raises' failed on item '\S+': ValueError: no such thing"),
        ("nan", r"reward 'nan' gave nan for item '\S+'"),
        ("short", r"reward 'short' returned 1 values for the 16 completions"),
        ("none_such", r"has no 'none_such'"),
    ],
)
def test_a_bad_reward_is_one_line(
    grpo_recipe: GrpoRecipe, reward_file: Path, function: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        train(changed(grpo_recipe, rewards=[f"{reward_file}:{function}"]), tmp_path, device="cpu")
    assert "\n" not in str(caught.value)


def test_an_item_without_its_image_is_named_before_a_model_is_loaded(
    grpo_recipe: GrpoRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "items.jsonl"
    source = TrainingData(grpo_recipe.data, grpo_recipe.seed)
    write_items(data, [source.dataset.items[0].model_copy(update={"image": "gone.png"})])
    monkeypatch.setattr("medproof.training.setup.load_net", lambda *_: pytest.fail("a model was loaded"))
    with pytest.raises(UserError, match=r"gone\.png.*data\.images"):
        train(changed(grpo_recipe, data={"train": str(data)}), tmp_path / "out", device="cpu")


def test_a_full_disk_keeps_the_older_checkpoint_and_training_goes_on_from_it(
    grpo_recipe: GrpoRecipe, tmp_path: Path
) -> None:
    """Files may not grow beyond a few kilobytes from the third step on, inside a generation cycle."""
    recipe = changed(grpo_recipe, grpo={"num_iterations": 2, "steps_per_generation": 2}, checkpoint={"every": 1})
    whole = train(recipe, tmp_path / "whole", device="cpu")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(progress: TrainProgress) -> None:
        if progress.step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(UserError, match=r"checkpoint at step 3 could not be written .*step-000002"):
            train(recipe, tmp_path / "full", device="cpu", progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    left = sorted(path.name for path in (tmp_path / "full" / "checkpoints").iterdir())
    assert left == ["step-000001", "step-000002"]
    assert_same_weights(whole, train(recipe, tmp_path / "full", device="cpu", resume=True))
    assert rows(tmp_path / "whole") == rows(tmp_path / "full")


def test_a_checkpoint_of_another_model_is_refused(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    """The same path, other weights: LoRA would load its adapter onto them without a word."""
    base = tmp_path / "base"
    shutil.copytree(grpo_recipe.model.init, base)
    recipe = changed(grpo_recipe, model={"init": str(base), "lora": {"r": 2}})
    train(recipe, tmp_path / "run", device="cpu", stop_at=1)
    other = {name: value + 0.01 for name, value in weights(base).items()}
    save_file(other, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"began with other weights than model\.init"):
        train(recipe, tmp_path / "run", device="cpu", resume=True)


def test_other_recipes_and_numbers_of_processes_are_refused(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    train(grpo_recipe, tmp_path, device="cpu", stop_at=1)
    with pytest.raises(UserError, match=r"differs in grpo\.beta"):
        train(changed(grpo_recipe, grpo={"beta": 0.5}), tmp_path, device="cpu", resume=True)
    state = tmp_path / "checkpoints" / "step-000001" / "trainer.json"
    content = json.loads(state.read_text(encoding="utf-8"))
    state.write_text(json.dumps(content | {"processes": 2}), encoding="utf-8")
    with pytest.raises(UserError, match="written by 2 processes, this run has 1: resuming would not be exact"):
        train(grpo_recipe, tmp_path, device="cpu", resume=True)


def test_data_that_changed_under_a_cycle_in_flight_are_refused(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    recipe = changed(grpo_recipe, grpo={"num_iterations": 2})
    train(recipe, tmp_path, device="cpu", stop_at=1)
    (file,) = (tmp_path / "checkpoints").rglob("groups-0.json")
    content = json.loads(file.read_text(encoding="utf-8"))
    content[0]["item"] = "another"
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=r"data\.train has changed"):
        train(recipe, tmp_path, device="cpu", resume=True)


def test_the_best_checkpoint_is_kept(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    recipe = changed(
        grpo_recipe, checkpoint={"every": 1, "keep_last": 1, "keep_best": "entropy", "greater_is_better": False}
    )
    train(recipe, tmp_path, device="cpu")
    found = [row["entropy"] for row in rows(tmp_path)]
    best = found.index(min(found)) + 1
    kept = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert kept == {f"step-{best:06d}", "step-000004"}


def test_a_metric_that_is_not_logged_cannot_be_best(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    recipe = changed(grpo_recipe, checkpoint={"keep_best": "rewrd"})
    with pytest.raises(UserError, match=r"'rewrd' is not logged: use one of .*reward, "):
        train(recipe, tmp_path, device="cpu")


def test_a_batch_that_does_not_divide_is_refused(grpo_recipe: GrpoRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelerate.Accelerator.num_processes", 3)
    with pytest.raises(UserError, match=r"batch_size 4 cannot be shared by 3 processes.*multiple of 3"):
        train(grpo_recipe, Path("unused"), device="cpu")


@pytest.mark.parametrize(("version", "lazy"), [(1, False), (2, True)])
def test_a_launcher_that_cannot_work_is_refused(
    grpo_recipe: GrpoRecipe, version: int, lazy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FSDP1, and loading on the first process only: rollouts need the whole initial model on each."""
    plugin = SimpleNamespace(fsdp_version=version, cpu_ram_efficient_loading=lazy)
    monkeypatch.setattr("medproof.training.session.Session.sharded", True)
    monkeypatch.setattr("accelerate.state.AcceleratorState.fsdp_plugin", plugin, raising=False)
    with pytest.raises(UserError, match="fsdp_version: 2 and fsdp_cpu_ram_efficient_loading: false"):
        train(grpo_recipe, Path("unused"), device="cpu")


def test_without_resume_a_run_begins_anew(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    train(grpo_recipe, tmp_path, device="cpu", stop_at=2)
    train(grpo_recipe, tmp_path, device="cpu", stop_at=1)
    assert [row["step"] for row in rows(tmp_path)] == [1]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]
