"""AT-SFT: with eps 0 it is SFT bit for bit, it resumes with warm starts, and its loss is that on attacked images."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from grpo_runs import assert_same_weights, rows, weights

from medproof.training import sft
from medproof.training.recipe import Recipe
from medproof.training.session import TrainProgress
from medproof.training.sft import train

ATTACK = {"eps": "24/255", "steps": 2}


@pytest.fixture
def tiny(recipe: Recipe, tiny_model: Path) -> Recipe:
    return changed(recipe, model={"init": str(tiny_model)})


def changed(recipe: Recipe, **sections: Any) -> Recipe:
    content = recipe.model_dump(mode="json")
    for name, value in sections.items():
        content[name] = (content[name] or {}) | value if isinstance(value, dict) else value
    return Recipe.model_validate(content)


@pytest.mark.parametrize(
    "how",
    [{"eps": 0}, {"eps": "8/255", "share": 0}, {"eps": 0, "start": "warm", "policy": "clean", "trades": 6}],
    ids=["eps 0", "share 0", "trades"],
)
def test_nothing_perturbed_is_plain_sft_bit_for_bit(tiny: Recipe, how: dict[str, Any], tmp_path: Path) -> None:
    recipe = changed(tiny, optim={"steps": 2, "accumulation": 2})
    plain = train(recipe, tmp_path / "plain", device="cpu")
    same = train(changed(recipe, adversarial=how), tmp_path / "same", device="cpu")
    assert_same_weights(plain, same)
    assert rows(tmp_path / "plain") == rows(tmp_path / "same")


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"start": "warm", "share": 0.7}, {"kind": "noise", "sigma": 0.25, "trades": 1.0}])
def test_killed_three_times_equals_undisturbed(tiny: Recipe, how: dict[str, Any], tmp_path: Path) -> None:
    recipe = changed(tiny, adversarial=ATTACK | how, optim={"steps": 16}, checkpoint={"every": 4})
    whole = train(recipe, tmp_path / "whole", device="cpu")
    for step in (5, 8, 14):

        def kill(progress: TrainProgress, step: int = step) -> None:
            if progress.step == step:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "killed", device="cpu", resume=True, progress=kill)
    assert_same_weights(whole, train(recipe, tmp_path / "killed", device="cpu", resume=True))
    assert rows(tmp_path / "whole") == rows(tmp_path / "killed")


def first_loss(recipe: Recipe, out: Path) -> float:
    train(recipe, out, device="cpu", stop_at=1)
    return rows(out)[0]["loss"]


def test_the_attack_raises_the_loss_and_trades_adds_to_the_clean_one(tiny: Recipe, tmp_path: Path) -> None:
    """Of the first step, at the same weights: clean < half attacked < attacked; a share of all lies between."""
    clean = first_loss(tiny, tmp_path / "clean")
    attacked = first_loss(changed(tiny, adversarial=ATTACK), tmp_path / "attacked")
    half = first_loss(changed(tiny, adversarial=ATTACK | {"share": 0.5}), tmp_path / "half")
    assert clean < half < attacked
    trades = {"policy": "clean", "trades": 1.0, "objective": "kl"}
    once, twice = (
        first_loss(changed(tiny, adversarial=ATTACK | trades | {"trades": weight}), tmp_path / f"trades {weight}")
        for weight in (1.0, 2.0)
    )
    assert once > clean
    assert twice - clean == pytest.approx(2 * (once - clean), rel=1e-3)


def test_trades_on_attacked_images_adds_the_same_term(tiny: Recipe, tmp_path: Path) -> None:
    """The attack does not know on which image the loss is: the divergence is one number."""
    terms = []
    for policy in ("clean", "attacked"):
        how = ATTACK | {"policy": policy}
        with_ = first_loss(changed(tiny, adversarial=how | {"trades": 1.0}), tmp_path / policy)
        none = first_loss(tiny if policy == "clean" else changed(tiny, adversarial=how), tmp_path / f"{policy} without")
        terms.append(with_ - none)
    assert terms[0] == pytest.approx(terms[1], rel=1e-3)
    assert terms[0] > 0


def test_accumulation_does_not_change_the_step(tiny: Recipe, tmp_path: Path) -> None:
    recipe = changed(tiny, adversarial=ATTACK | {"share": 0.5, "trades": 1.0})
    whole = train(recipe, tmp_path / "a", device="cpu", stop_at=1)
    parts = train(changed(recipe, optim={"accumulation": 4}), tmp_path / "b", device="cpu", stop_at=1)
    assert rows(tmp_path / "a")[0]["loss"] == pytest.approx(rows(tmp_path / "b")[0]["loss"], rel=1e-3)
    left, right = weights(whole), weights(parts)
    # Adam's first step is lr * sign(g) where |g| is tiny, so compare almost all weights and not the worst one.
    off = torch.cat([(left[n] - right[n]).abs().flatten() for n in left])
    assert float((off > 1e-5).float().mean()) < 0.05


def test_attacked_images_meet_the_loss(tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[bool, float]] = []
    original = sft._collate

    def spy(examples: Any, *rest: Any) -> Any:
        from medproof.images.preprocess import to_float

        for e in examples:
            moved = 0.0 if e.shown is None else float((e.shown - to_float(e.image)).abs().max() * 255)
            shown.append((e.shown is not None, moved))
        return original(examples, *rest)

    monkeypatch.setattr(sft, "_collate", spy)
    train(changed(tiny, adversarial=ATTACK), tmp_path, device="cpu", stop_at=1)
    assert len(shown) == 8
    assert all(moved and size == pytest.approx(24) for moved, size in shown)


def test_sft_is_watched_like_grpo(tiny: Recipe, tmp_path: Path) -> None:
    watch = {"every": 2, "items": 6, "attack": {"eps": "8/255", "steps": 2}}
    recipe = changed(tiny, watch=watch, checkpoint={"keep_best": "eval/accuracy"}, optim={"steps": 3})
    train(recipe, tmp_path, device="cpu")
    seen = {row["step"]: row for row in rows(tmp_path)}
    assert [step for step, row in seen.items() if "eval/robust_accuracy" in row] == [0, 2, 3]
    assert all(row.keys() >= {"eval/accuracy", "eval/blank_accuracy"} for step, row in seen.items() if step != 1)


def test_the_attack_is_timed(tiny: Recipe, tmp_path: Path) -> None:
    train(changed(tiny, adversarial=ATTACK), tmp_path, device="cpu", stop_at=1)
    (row,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert 0 < row["time/attack"] < row["step_time"]
    assert row["adv/delta_linf"] == pytest.approx(24)
