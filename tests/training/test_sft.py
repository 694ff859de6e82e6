"""The loop: resume bit for bit, equal splits of a batch, a loss that stops being finite, a full disk."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medproof import models
from medproof.errors import UserError
from medproof.training import sft
from medproof.training.optim import TrainingError, learning_rate
from medproof.training.recipe import Recipe
from medproof.training.sections import OptimSection
from medproof.training.session import TrainProgress
from medproof.training.sft import train


def changed(recipe: Recipe, **sections: object) -> Recipe:
    return Recipe.model_validate(recipe.model_dump() | sections)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def assert_same_weights(a: Path, b: Path) -> None:
    left, right = weights(a), weights(b)
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


@pytest.fixture
def lora(recipe: Recipe, random_base: Path) -> Recipe:
    return changed(recipe, model={"init": str(random_base), "lora": {"r": 4, "lora_dropout": 0.1}})


@pytest.fixture(scope="module")
def random_base(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One step of nano, as a base model for adapters."""
    recipe = Recipe.model_validate({"data": {"train": str(corpus)}, "optim": {"steps": 1, "batch_size": 4}})
    return train(recipe, tmp_path_factory.mktemp("base"), device="cpu")


@pytest.mark.parametrize("kind", ["recipe", "lora"])
def test_two_plus_resume_plus_two_is_four(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    recipe: Recipe = request.getfixturevalue(kind)
    whole = train(recipe, tmp_path / "whole", device="cpu")
    train(recipe, tmp_path / "halves", device="cpu", stop_at=2)
    resumed = train(recipe, tmp_path / "halves", device="cpu", resume=True)
    assert_same_weights(whole, resumed)
    rows = [(tmp_path / run / "metrics.jsonl").read_text() for run in ("whole", "halves")]
    assert rows[0] == rows[1]
    assert [json.loads(row)["step"] for row in rows[0].splitlines()] == [1, 2, 3, 4]


def test_steps_after_the_last_checkpoint_are_logged_once(recipe: Recipe, tmp_path: Path) -> None:
    """A run killed behind its checkpoint has logged steps that it takes again."""

    def stop(progress: TrainProgress) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path, device="cpu", progress=stop)
    train(recipe, tmp_path, device="cpu", resume=True)
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [1, 2, 3, 4]


def test_training_again_gives_the_same_weights(recipe: Recipe, tmp_path: Path) -> None:
    assert_same_weights(train(recipe, tmp_path / "a", device="cpu"), train(recipe, tmp_path / "b", device="cpu"))


def test_accumulation_does_not_change_the_step(recipe: Recipe, tmp_path: Path) -> None:
    """1 x 8 and 8 x 1 see the same gradient, up to the order of a float sum."""
    whole = train(recipe, tmp_path / "whole", device="cpu", stop_at=1)
    parts = changed(recipe, optim=recipe.optim.model_dump() | {"accumulation": 8})
    split = train(parts, tmp_path / "parts", device="cpu", stop_at=1)
    left, right = weights(whole), weights(split)
    first = [json.loads((tmp_path / run / "metrics.jsonl").read_text())["loss"] for run in ("whole", "parts")]
    assert first[0] == pytest.approx(first[1], rel=1e-6)
    # Adam's first step is lr * sign(g) where |g| is tiny, so compare almost all weights and not the worst one.
    off = torch.cat([(left[n] - right[n]).abs().flatten() for n in left])
    assert float((off > 1e-5).float().mean()) < 0.01


def test_a_trained_model_answers(recipe: Recipe, tmp_path: Path) -> None:
    """The loss falls and plain loading gives a model of level 3."""
    longer = changed(recipe, optim=recipe.optim.model_dump() | {"steps": 12})
    folder = train(longer, tmp_path, device="cpu")
    losses = [json.loads(row)["loss"] for row in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.8 * losses[0]
    assert models.load(str(folder), device="cpu").weights_hash


def test_an_adapter_folder_loads_on_its_base(lora: Recipe, random_base: Path, tmp_path: Path) -> None:
    folder = train(lora, tmp_path, device="cpu")
    assert (folder / "adapter_config.json").is_file()
    adapted = models.load(str(folder), device="cpu")
    assert adapted.weights_hash != models.load(str(random_base), device="cpu").weights_hash


def test_a_loss_that_is_not_finite_stops_with_step_and_items(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = sft.weighted_token_loss
    calls = 0

    def poisoned(*args: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal calls
        calls += 1
        losses, total = original(*args)
        return (losses * float("nan"), total) if calls == 3 else (losses, total)

    monkeypatch.setattr(sft, "weighted_token_loss", poisoned)
    with pytest.raises(TrainingError, match=r"loss nan at step 3, items \S+/\S+"):
        train(recipe, tmp_path, device="cpu")
    assert (tmp_path / "checkpoints" / "step-000002" / "trainer.json").is_file()
    assert not (tmp_path / "model").exists()


def test_full_disk_keeps_the_older_checkpoint(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate import Accelerator

    original = Accelerator.save_state
    saves = 0

    def save(self: Accelerator, folder: str) -> object:
        nonlocal saves
        saves += 1
        if saves == 2:
            Path(folder).mkdir(parents=True)
            (Path(folder) / "half").write_bytes(b"x")
            raise OSError(28, "No space left on device")
        return original(self, folder)

    monkeypatch.setattr(Accelerator, "save_state", save)
    with pytest.raises(UserError, match="step-000002"):
        train(recipe, tmp_path, device="cpu")
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step-000002"]


def test_learning_rate_warms_up_falls_and_restarts() -> None:
    optim = OptimSection.model_validate(
        {"lr": 1.0, "warmup_steps": 10, "steps": 200, "restarts": [{"step": 110, "lr": 0.5}], "min_lr_ratio": 0.1}
    )
    rates = [learning_rate(optim, step) for step in range(200)]
    assert rates[:10] == [pytest.approx((i + 1) / 10) for i in range(10)]
    assert rates[10] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.55)
    assert rates[109] == pytest.approx(0.1, abs=1e-3)
    assert rates[110] == pytest.approx(0.5)
    assert rates[199] == pytest.approx(0.05, abs=1e-3)
    assert rates[10:110] == sorted(rates[10:110], reverse=True)


def test_only_the_last_checkpoints_are_kept(recipe: Recipe, tmp_path: Path) -> None:
    every = changed(recipe, checkpoint={"every": 1, "keep_last": 2})
    train(every, tmp_path, device="cpu")
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step-000003", "step-000004"]


def test_resuming_another_recipe_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    train(recipe, tmp_path, device="cpu", stop_at=2)
    with pytest.raises(UserError, match=r"differs in answer_weight"):
        train(changed(recipe, answer_weight=3.0), tmp_path, device="cpu", resume=True)


def test_a_filter_that_leaves_nothing_says_so(recipe: Recipe, tmp_path: Path) -> None:
    nothing = changed(recipe, data=recipe.data.model_dump() | {"modalities": ["OCT"]})
    with pytest.raises(UserError, match="no training items are left"):
        train(nothing, tmp_path, device="cpu")


def test_progress_is_reported_every_step(recipe: Recipe, tmp_path: Path) -> None:
    seen: list[int] = []
    train(recipe, tmp_path, device="cpu", progress=lambda p: seen.append(p.step))
    assert seen == [1, 2, 3, 4]


def test_trackers_write_their_logs(recipe: Recipe, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="package absent: tensorboard")
    train(changed(recipe, trackers=["tensorboard"]), tmp_path, device="cpu", stop_at=1)
    assert list((tmp_path / "logs").rglob("events.out.tfevents*"))


def test_a_tracker_that_is_not_installed_is_one_line(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install wandb"):
        train(changed(recipe, trackers=["wandb"]), tmp_path, device="cpu")


def test_an_unknown_start_is_one_line(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not found"):
        train(changed(recipe, model={"init": "./nowhere"}), tmp_path, device="cpu")
