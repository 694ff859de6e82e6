"""What is watched during training: held-out accuracy with and without the image, completions for people to read."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from grpo_runs import changed, rows

from medproof.errors import UserError
from medproof.images.png import decode_png
from medproof.records import Item, pixels_sha256
from medproof.training.grpo import train
from medproof.training.grpo_recipe import GrpoRecipe
from medproof.training.setup import TrainingData
from medproof.training.watch import choose
from medproof.training.watch_recipe import WatchSection


def items(recipe: GrpoRecipe) -> tuple[Item, ...]:
    return TrainingData(recipe.data, recipe.seed).dataset.items


def test_held_out_items_are_of_whole_patients_and_all_modalities(grpo_recipe: GrpoRecipe) -> None:
    everything = items(grpo_recipe)
    watched = choose(everything, WatchSection(items=8), seed=0)
    assert len(watched) == 8
    assert {item.modality for item in watched} == {item.modality for item in everything}
    assert all(item.split == "train" for item in watched)
    assert choose(everything[::-1], WatchSection(items=8), seed=0) != ()
    source = TrainingData(grpo_recipe.data, grpo_recipe.seed)
    patients = {item.cluster for item in watched}
    source.hold_out(patients)
    for epoch in (0, 1):
        left = {item.cluster for item in source.epoch_items(epoch)}
        assert left
        assert not left & patients


def test_more_watched_items_contain_the_fewer(grpo_recipe: GrpoRecipe) -> None:
    few, many = (choose(items(grpo_recipe), WatchSection(items=n), seed=0) for n in (5, 9))
    assert many[:5] == few


def test_accuracy_is_logged_with_and_without_image(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    watch, best = {"every": 2, "items": 8}, {"keep_best": "eval/accuracy"}
    train(changed(grpo_recipe, watch=watch, checkpoint=best, optim={"steps": 3}), tmp_path, device="cpu")
    logged = {row["step"]: (row.get("eval/accuracy"), row.get("eval/blank_accuracy")) for row in rows(tmp_path)}
    assert [step for step, (seen, _) in logged.items() if seen is not None] == [0, 2, 3]
    assert logged[1] == (None, None)
    assert all(0 <= value <= 1 for pair in logged.values() for value in pair if value is not None)


def test_watching_does_not_change_training(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    watched = changed(grpo_recipe, watch={"every": 1, "items": 8, "held_out": False})
    for name, recipe in (("plain", grpo_recipe), ("watched", watched)):
        train(recipe, tmp_path / name, device="cpu", stop_at=2)
    plain = rows(tmp_path / "plain")
    also = [row for row in rows(tmp_path / "watched") if row["step"]]
    assert plain == [{k: v for k, v in row.items() if not k.startswith("eval/")} for row in also]


def test_holding_out_everything_is_refused(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no training items are left"):
        train(changed(grpo_recipe, watch={"every": 1, "items": 10_000}), tmp_path, device="cpu")


def test_completions_are_kept_with_rewards_and_images(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    recipe = changed(grpo_recipe, completions={"every": 2, "groups": 3})
    train(recipe, tmp_path, device="cpu")
    folder = tmp_path / "completions"
    assert sorted(path.name for path in folder.glob("*.parquet")) == ["step-000002.parquet", "step-000004.parquet"]
    table = pq.read_table(folder / "step-000002.parquet").to_pylist()
    assert len(table) == 3 * 4
    assert [(row["group"], row["completion"]) for row in table] == [(b, g) for b in range(3) for g in range(4)]
    for group in range(3):
        of_group = [row for row in table if row["group"] == group]
        mean = np.mean([row["reward"] for row in of_group])
        assert all(row["reward"] == row["reward_low"] for row in of_group)
        assert all((row["advantage"] > 0) == (row["reward"] > mean) for row in of_group)
    for row in table:
        assert (
            pixels_sha256(decode_png((folder / "images" / f"{row['image_sha256']}.png").read_bytes()))
            == row["image_sha256"]
        )
        assert row["options"][0] in row["prompt"]
        assert row["answer"] in row["options"]


def test_completions_behind_a_checkpoint_are_written_again(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    recipe = changed(grpo_recipe, completions={"every": 1, "groups": 1})
    train(recipe, tmp_path, device="cpu", stop_at=3)
    train(changed(recipe), tmp_path, device="cpu", stop_at=1)
    assert [path.name for path in (tmp_path / "completions").glob("*.parquet")] == ["step-000001.parquet"]
