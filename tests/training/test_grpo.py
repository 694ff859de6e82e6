"""The GRPO loop: it learns, resumes bit for bit, and does not care how a batch is cut."""

import json
from pathlib import Path

import pytest
import torch
from grpo_runs import assert_same_weights, changed, rows, weights
from transformers import AutoModelForImageTextToText

from medproof import models
from medproof.training.grpo import train
from medproof.training.grpo_recipe import GrpoRecipe

LORA = {"lora": {"r": 4, "lora_dropout": 0.1}}
CYCLES = {
    "inside a cycle": {"num_iterations": 2, "steps_per_generation": 2},
    "inside a cycle of batches": {"steps_per_generation": 3},
    "at the border of two cycles": {"num_iterations": 2},
}


@pytest.mark.parametrize("cycle", CYCLES)
@pytest.mark.parametrize("model", [{}, LORA], ids=["full", "lora"])
def test_two_plus_resume_plus_two_is_four(
    grpo_recipe: GrpoRecipe, model: dict[str, object], cycle: str, tmp_path: Path
) -> None:
    """With beta > 0: after resuming the reference is the initial model again."""
    recipe = changed(grpo_recipe, model=model, grpo=CYCLES[cycle] | {"beta": 0.1})
    whole = train(recipe, tmp_path / "whole", device="cpu")
    train(recipe, tmp_path / "halves", device="cpu", stop_at=2)
    resumed = train(recipe, tmp_path / "halves", device="cpu", resume=True)
    assert_same_weights(whole, resumed)
    logged = rows(tmp_path / "whole")
    assert logged == rows(tmp_path / "halves")
    assert [row["step"] for row in logged] == [1, 2, 3, 4]
    assert logged[-1]["kl"] > 1e-6  # the policy has moved, so a reference taken from it would show


def test_training_moves_the_weights_and_repeats(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    one, two = (train(grpo_recipe, tmp_path / name, device="cpu", stop_at=1) for name in "ab")
    assert_same_weights(one, two)
    before = weights(Path(grpo_recipe.model.init))
    assert max(float((value - before[name]).abs().max()) for name, value in weights(one).items()) > 1e-4


def test_accumulation_does_not_change_the_step(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    """8 x 1 and 1 x 8 see the same gradient, up to the order of a float sum."""
    whole = changed(grpo_recipe, optim={"batch_size": 8}, grpo={"beta": 0.1})
    parts = changed(whole, optim={"accumulation": 8})
    left, right = (weights(train(r, tmp_path / n, device="cpu", stop_at=1)) for r, n in ((whole, "a"), (parts, "b")))
    one, eight = rows(tmp_path / "a")[0], rows(tmp_path / "b")[0]
    assert one.keys() == eight.keys()
    for name, value in one.items():
        assert eight[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    # Adam's first step is lr * sign(g) where |g| is tiny, so compare almost all weights and not the worst one.
    off = torch.cat([(left[n] - right[n]).abs().flatten() for n in left])
    assert float((off > 1e-5).float().mean()) < 0.01


def test_reward_rises_on_a_rigged_task(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    """Half of the vocabulary is rewarded: from one half to nine tenths and more."""
    optim = {"steps": 10, "lr": 3e-2, "min_lr_ratio": 1.0}
    train(changed(grpo_recipe, optim=optim, grpo={"num_generations": 16}), tmp_path, device="cpu")
    reward = [row["reward"] for row in rows(tmp_path)]
    assert max(reward[:2]) < 0.6
    assert min(reward[-2:]) > 0.9


def test_a_second_iteration_has_ratios_and_clips(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    recipe = changed(grpo_recipe, grpo={"num_iterations": 2, "epsilon": 0.01}, optim={"accumulation": 2})
    train(recipe, tmp_path, device="cpu", stop_at=2)
    first, second = rows(tmp_path)
    assert first["ratio/min"] == first["ratio/max"] == 1.0  # old log-probabilities are the policy's own, bit for bit
    assert first["clip_ratio/region_mean"] == 0
    assert second["ratio/min"] < 0.99
    assert second["ratio/max"] > 1.01
    assert 0 < second["clip_ratio/region_mean"] < 1
    assert second["reward"] == first["reward"]
    assert second["num_tokens"] == first["num_tokens"]


def test_metrics_have_trl_names(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    recipe = changed(grpo_recipe, rewards=[*grpo_recipe.model_dump()["rewards"], "format"], grpo={"beta": 0.1})
    train(recipe, tmp_path, device="cpu", stop_at=1)
    logged = json.loads((tmp_path / "metrics.jsonl").read_text(encoding="utf-8"))
    assert set(logged) >= {
        *("step", "loss", "lr", "grad_norm", "reward", "reward_std", "frac_reward_zero_std", "num_tokens"),
        *("rewards/low/mean", "rewards/low/std", "rewards/format/mean", "rewards/format/std", "kl", "entropy"),
        *("completions/mean_length", "completions/min_length", "completions/max_length", "completions/clipped_ratio"),
        *("clip_ratio/low_mean", "clip_ratio/low_min", "clip_ratio/high_mean", "clip_ratio/high_max"),
        *("clip_ratio/region_mean", "step_time", "time/rollout", "time/logprobs", "time/backward", "time/optimizer"),
    }
    assert logged["kl"] == 0  # the first step starts from the reference
    assert logged["entropy"] > 1
    assert logged["step_time"] >= logged["time/rollout"] + logged["time/backward"] > 0


def test_the_model_loads_with_transformers_and_says_where_it_is_from(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    folder = train(grpo_recipe, tmp_path, device="cpu", stop_at=1)
    plain = AutoModelForImageTextToText.from_pretrained(folder)
    assert sum(p.numel() for p in plain.parameters()) > 1e4
    said = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert (said["kind"], said["steps"], said["processes"]) == ("grpo", 1, 1)
    assert said["init_weights_hash"] == models.load(grpo_recipe.model.init, device="cpu").weights_hash
    assert said["filters"] == {"license_classes": None, "modalities": None, "question_types": None}
    assert GrpoRecipe.model_validate(said["recipe"]) == grpo_recipe
    assert said["versions"]["torch"]


def test_an_adapter_is_saved_as_one(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    folder = train(changed(grpo_recipe, model=LORA), tmp_path, device="cpu", stop_at=1)
    assert (folder / "adapter_config.json").is_file()
    hashes = {models.load(str(f), device="cpu").weights_hash for f in (folder, grpo_recipe.model.init)}
    assert len(hashes) == 2


def test_progress_shows_reward(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    train(grpo_recipe, tmp_path, device="cpu", stop_at=2, progress=lambda p: seen.append((p.step, p.total, p.remark)))
    assert [(step, total) for step, total, _ in seen] == [(1, 4), (2, 4)]
    assert all(remark == f"reward {row['reward']:.3f}" for (_, _, remark), row in zip(seen, rows(tmp_path)))
