"""AT-GRPO: with eps 0 it is GRPO bit for bit, it resumes bit for bit, and each term sees the image it is told to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from grpo_runs import assert_same_weights, changed, rows, weights

from medproof.errors import UserError
from medproof.training import grpo
from medproof.training.conditioning import Rows
from medproof.training.grpo import train
from medproof.training.grpo_recipe import GrpoRecipe
from medproof.training.optim import TrainingError
from medproof.training.rollout.local import LocalEngine
from medproof.training.session import TrainProgress
from medproof.training.setup import TrainingData

ATTACK = {"eps": "24/255", "steps": 2}


def attacked(recipe: GrpoRecipe, how: dict[str, Any], **sections: Any) -> GrpoRecipe:
    return changed(changed(recipe, **sections), adversarial=None).model_copy(
        update={"adversarial": GrpoRecipe.model_validate(recipe.model_dump() | {"adversarial": how}).adversarial}
    )


def without_adv(logged: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if not k.startswith("adv/")} for row in logged]


NOTHING = {
    "eps 0": {"eps": 0},
    "eps 0, all settings": {"eps": 0, "rollout": "clean", "policy": "attacked", "old": "clean", "trades": 1.0},
    "share 0": {"eps": "8/255", "share": 0},
    "no rollout": {"eps": "8/255", "share": 0.1, "mix": "rollouts"},
    "before the ramp": {"eps": "8/255", "ramp_steps": 1000},
    "policy": {"eps": 0, "objective": "policy", "rollout": "clean"},
    "warm": {"eps": 0, "start": "warm"},
}


@pytest.mark.parametrize("how", NOTHING)
def test_nothing_perturbed_is_plain_grpo_bit_for_bit(grpo_recipe: GrpoRecipe, how: str, tmp_path: Path) -> None:
    recipe = changed(grpo_recipe, grpo={"beta": 0.1, "num_iterations": 2}, optim={"steps": 2, "accumulation": 2})
    plain = train(recipe, tmp_path / "plain", device="cpu")
    same = train(attacked(recipe, NOTHING[how]), tmp_path / "same", device="cpu")
    assert_same_weights(plain, same)
    assert rows(tmp_path / "plain") == without_adv(rows(tmp_path / "same"))


@pytest.mark.parametrize("how", [{"eps": "24/255"}, {"kind": "noise", "sigma": 0.25}], ids=["pgd", "noise"])
def test_something_perturbed_is_not(grpo_recipe: GrpoRecipe, how: dict[str, Any], tmp_path: Path) -> None:
    recipe = changed(grpo_recipe, optim={"steps": 1})
    plain, other = (
        weights(train(recipe, tmp_path / "a", device="cpu")),
        weights(train(attacked(recipe, how), tmp_path / "b", device="cpu")),
    )
    assert max(float((plain[name] - other[name]).abs().max()) for name in plain) > 1e-5


RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "warm, at the border of cycles": ({"start": "warm"}, {}),
    "warm, inside cycles": ({"start": "warm", "share": 0.7}, {"num_iterations": 2, "steps_per_generation": 3}),
    "noise inside a cycle": ({"kind": "noise", "sigma": 0.25, "mix": "rollouts", "share": 0.5}, {"num_iterations": 3}),
    "policy": ({"objective": "policy", "rollout": "clean", "start": "warm", "trades": 0.5}, {"beta": 0.1}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_killed_three_times_equals_undisturbed(grpo_recipe: GrpoRecipe, name: str, tmp_path: Path) -> None:
    """Eight steps over two epochs and more; killed right behind checkpoints and one step after one."""
    how, settings = RUNS[name]
    recipe = attacked(grpo_recipe, ATTACK | how, grpo=settings, optim={"steps": 8}, checkpoint={"every": 2})
    whole = train(recipe, tmp_path / "whole", device="cpu")

    def kill_at(step: int) -> None:
        def kill(progress: TrainProgress) -> None:
            if progress.step == step:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "killed", device="cpu", resume=True, progress=kill)

    for step in (3, 4, 7):
        kill_at(step)
    assert_same_weights(whole, train(recipe, tmp_path / "killed", device="cpu", resume=True))
    assert rows(tmp_path / "whole") == rows(tmp_path / "killed")


def test_warm_starts_begin_where_the_last_attack_ended(
    grpo_recipe: GrpoRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is the whole data set: in the first step every item is new, in the second every one is known."""
    from medproof.training import adversary

    seen: list[list[bool]] = []
    original = adversary.InnerAttack.__call__

    def spy(self: Any, objective: Any, clean: Any, starts: Any, *rest: Any) -> Any:
        moves = [(start - own) * 255 for start, own in zip(starts, clean, strict=True)]
        seen.append([bool(((move - move.round()).abs() < 1e-2).all()) for move in moves])  # whole grey levels
        return original(self, objective, clean, starts, *rest)

    monkeypatch.setattr(adversary.InnerAttack, "__call__", spy)
    train(attacked(one_epoch_a_step(grpo_recipe), ATTACK | {"start": "warm"}), tmp_path, device="cpu", stop_at=2)
    assert not any(seen[0])
    assert all(seen[1])


def one_epoch_a_step(recipe: GrpoRecipe) -> GrpoRecipe:
    recipe = changed(recipe, data={"modalities": ["CT"], "fresh_options": False})
    items = TrainingData(recipe.data, recipe.seed).dataset.items
    return changed(recipe, optim={"batch_size": len(items), "steps": 2})


class Spy:
    """Which images each term was given: of each call whether all were clean ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clean: dict[str, list[bool]] = {"rollout": [], "old": [], "reference": [], "policy": []}
        self._phase = ""
        generate, logprobs, optimise, collate = LocalEngine.generate, grpo._logprobs, grpo._optimise, grpo._collate

        def of_rollout(engine: Any, prompts: Sequence[Any], images: Any, sampling: Any) -> Any:
            self._note("rollout", images, prompts)
            return generate(engine, prompts, images, sampling)

        def of_logprobs(run: Any, buffer: Any, shown: Any, of_reference: bool = False) -> Any:
            self._phase = "reference" if of_reference else "old"
            return logprobs(run, buffer, shown, of_reference)

        def of_policy(*args: Any) -> Any:
            self._phase = "policy"
            return optimise(*args)

        def collated(run: Any, rows: Rows) -> Any:
            self._note(self._phase, rows.images, [group.prompt for group in rows.groups])
            return collate(run, rows)

        monkeypatch.setattr(LocalEngine, "generate", of_rollout)
        monkeypatch.setattr(grpo, "_logprobs", of_logprobs)
        monkeypatch.setattr(grpo, "_optimise", of_policy)
        monkeypatch.setattr(grpo, "_collate", collated)

    def _note(self, term: str, images: Any, prompts: Sequence[Any]) -> None:
        from medproof.images.preprocess import to_float

        for prompt, place in zip(prompts, images.of, strict=True):
            self.clean[term].append(torch.equal(images.pixels[place], to_float(prompt.image)))

    def shown(self, term: str) -> str:
        assert len(set(self.clean[term])) == 1
        return "clean" if self.clean[term][0] else "attacked"


@pytest.mark.parametrize("term", ["rollout", "old", "reference", "policy"])
@pytest.mark.parametrize("others", ["attacked", "clean"])
def test_each_term_sees_the_image_it_is_told_to(
    grpo_recipe: GrpoRecipe, term: str, others: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = "clean" if others == "attacked" else "attacked"
    told = dict.fromkeys(("rollout", "old", "reference", "policy"), others) | {term: own}
    if not {told["rollout"], told["policy"]} & {"attacked"}:
        told["policy"] = "attacked"
    spy = Spy(monkeypatch)
    grpo_settings = {"beta": 0.1, "num_iterations": 2}
    train(attacked(grpo_recipe, ATTACK | told, grpo=grpo_settings), tmp_path, device="cpu", stop_at=1)
    assert {term: spy.shown(term) for term in told} == told


def test_old_logprobs_are_computed_only_where_the_image_differs(
    grpo_recipe: GrpoRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One update per generation: the ratio is 1 by itself unless old and policy see two images."""
    spy = Spy(monkeypatch)
    train(attacked(grpo_recipe, ATTACK), tmp_path / "same", device="cpu", stop_at=1)
    assert spy.clean["old"] == []
    train(attacked(grpo_recipe, ATTACK | {"old": "clean"}), tmp_path / "differs", device="cpu", stop_at=1)
    assert spy.shown("old") == "clean"
    (same,), (differs,) = rows(tmp_path / "same"), rows(tmp_path / "differs")
    assert same["ratio/min"] == same["ratio/max"] == 1.0
    assert differs["ratio/min"] < 1 < differs["ratio/max"]


def test_a_divided_group_shows_both_images_in_their_share(
    grpo_recipe: GrpoRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    recipe = attacked(grpo_recipe, ATTACK | {"mix": "rollouts", "share": 0.5}, grpo={"beta": 0.1})
    train(recipe, tmp_path, device="cpu", stop_at=1)
    assert sorted(spy.clean["rollout"]) == [False] * 4 + [True] * 4
    assert set(spy.clean["policy"]) == {False, True}
    assert set(spy.clean["reference"]) == {True}
    (row,) = rows(tmp_path)
    assert row["adv/share"] == 0.5
    both = (row["adv/reward_clean"] + row["adv/reward_attacked"]) / 2
    assert row["reward"] == pytest.approx(both, abs=1e-6)


def test_noise_is_fresh_in_every_rollout_and_shared_by_its_group(
    grpo_recipe: GrpoRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, list[torch.Tensor]] = {}
    generate = LocalEngine.generate

    def spy(engine: Any, prompts: Sequence[Any], images: Any, sampling: Any) -> Any:
        from medproof.images.preprocess import to_float

        for prompt, place in zip(prompts, images.of, strict=True):
            shown.setdefault(prompt.item.id, []).append(images.pixels[place] - to_float(prompt.image))
        return generate(engine, prompts, images, sampling)

    monkeypatch.setattr(LocalEngine, "generate", spy)
    train(attacked(one_epoch_a_step(grpo_recipe), {"kind": "noise", "sigma": 0.25}), tmp_path, device="cpu")
    assert all(len(deltas) == 2 for deltas in shown.values())
    for deltas in shown.values():
        for delta in deltas:
            assert float(delta.std()) == pytest.approx(0.25, rel=0.05)
        assert abs(float(torch.corrcoef(torch.stack([d.flatten() for d in deltas]))[0, 1])) < 0.1
    everything = torch.cat([delta.flatten() for deltas in shown.values() for delta in deltas])
    assert float(everything.min()) < -0.9  # not clipped: CT is dark here
    assert rows(tmp_path)[0]["adv/delta_linf"] > 128


def test_metrics_tell_what_was_done(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    recipe = attacked(grpo_recipe, ATTACK | {"share": 0.5, "ramp_steps": 2}, optim={"batch_size": 16, "steps": 3})
    train(recipe, tmp_path, device="cpu")
    first, _, last = rows(tmp_path)
    assert first["adv/share"] == 0
    assert "adv/delta_linf" not in first
    assert 0 < last["adv/share"] < 1
    assert last["adv/delta_linf"] == pytest.approx(24)
    assert last["adv/delta_l2"] > 0
    assert last["adv/zero_gradient"] == 0
    mixed = last["adv/share"] * last["adv/reward_attacked"] + (1 - last["adv/share"]) * last["adv/reward_clean"]
    assert last["reward"] == pytest.approx(mixed, abs=1e-6)
    assert {"adv/frac_reward_zero_std_clean", "adv/frac_reward_zero_std_attacked"} <= last.keys()
    import json

    timed = json.loads((tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert timed["time/attack_share"] == pytest.approx(timed["time/attack"] / timed["step_time"])
    assert 0 < timed["time/attack_share"] < 1


def test_watching_attacks_the_right_answers(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    """A random network: hardly anything is right, and what is right falls to a ball that holds every image."""
    options = {"every": 1, "items": 16, "held_out": False, "attack": {"eps": "255/255", "steps": 5, "restarts": 2}}
    init = {"init": "nano"}
    recipe = changed(grpo_recipe, model=init, watch=options, grpo={"max_completion_length": 12}, optim={"lr": 1e-9})
    recipe = changed(recipe, data={"modes": {"direct": 1.0}})
    train(recipe, tmp_path, device="cpu", stop_at=1)
    row = rows(tmp_path)[0]
    assert row["eval/accuracy"] > 0
    assert row["eval/robust_accuracy"] <= row["eval/accuracy"] / 4
    with_0 = changed(recipe, watch=options | {"attack": {"eps": "0/255"}})
    train(with_0, tmp_path / "0", device="cpu", stop_at=1)
    assert rows(tmp_path / "0")[0]["eval/robust_accuracy"] == row["eval/accuracy"]


def test_a_model_that_grows_blind_ends_the_run(
    grpo_recipe: GrpoRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blank accuracy made to rise: 2, 3 and 6 of 8 right; the rule allows one quarter more than at first."""
    from medproof.training import watch

    blank = iter([2, 3, 6, 6])
    original = watch.Watch._right

    def right(self: Any, prompts: Any, images: Any) -> Any:
        if all(float(pixels.std()) == 0 for pixels in images.pixels):
            return [None] * next(blank)
        return original(self, prompts, images)

    monkeypatch.setattr(watch.Watch, "_right", right)
    recipe = changed(grpo_recipe, watch={"every": 1, "items": 8, "stop_when_blind": 0.25})
    with pytest.raises(TrainingError, match=r"stopped at step 2: .*0\.25 above the 0\.250 .*stop_when_blind") as caught:
        train(recipe, tmp_path, device="cpu")
    assert "\n" not in str(caught.value)
    assert [row["eval/blank_accuracy"] for row in rows(tmp_path)] == [0.25, 0.375, 0.75]
    assert (tmp_path / "checkpoints" / "step-000002").is_dir()
    assert (tmp_path / "model" / "training.json").is_file()
    with pytest.raises(TrainingError, match="stopped at step 2"):  # the same command again does not go on
        train(recipe, tmp_path, device="cpu", resume=True)
    assert len(rows(tmp_path)) == 3


def test_reentrant_checkpointing_is_refused(
    grpo_recipe: GrpoRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedModel

    original = PreTrainedModel.gradient_checkpointing_enable

    def reentrant(self: Any, gradient_checkpointing_kwargs: Any = None) -> None:
        original(self, gradient_checkpointing_kwargs={"use_reentrant": True})

    monkeypatch.setattr(PreTrainedModel, "gradient_checkpointing_enable", reentrant)
    recipe = attacked(grpo_recipe, ATTACK, model={"gradient_checkpointing": True})
    with pytest.raises(UserError, match="reentrant"):
        train(recipe, tmp_path, device="cpu")


def test_checkpointed_activations_take_the_same_steps(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    recipe = attacked(grpo_recipe, ATTACK)
    plain = train(recipe, tmp_path / "a", device="cpu", stop_at=1)
    saved = train(
        attacked(grpo_recipe, ATTACK, model={"gradient_checkpointing": True}), tmp_path / "b", device="cpu", stop_at=1
    )
    left, right = weights(plain), weights(saved)
    assert max(float((left[name] - right[name]).abs().max()) for name in left) < 1e-4
    assert rows(tmp_path / "b")[0]["adv/zero_gradient"] == 0
