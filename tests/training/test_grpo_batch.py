"""The parts of a step: prompts, what rewards are given, order and omission of groups."""

from pathlib import Path

import numpy as np
import pytest
import torch
from grpo_runs import changed, rows, weights

from medproof import models
from medproof.conditions.controls import GREY
from medproof.models.prompts import answer_prefix
from medproof.records import View
from medproof.training import grpo
from medproof.training.groups import Completion, Group, Images
from medproof.training.grpo_metrics import completion_metrics, reward_metrics
from medproof.training.grpo_recipe import GrpoRecipe
from medproof.training.logprobs import GroupLogprobs
from medproof.training.option_probs import answer_columns
from medproof.training.policy_loss import PolicySettings, policy_loss
from medproof.training.prefix_rows import collate_groups
from medproof.training.prompt_stream import PromptStream
from medproof.training.rollout.engine import Sampling
from medproof.training.rollout.local import LocalEngine
from medproof.training.setup import Setup, set_up


@pytest.fixture
def parts(grpo_recipe: GrpoRecipe) -> Setup:
    return set_up(grpo_recipe, torch.device("cpu"))


def stream(parts: Setup) -> PromptStream:
    return PromptStream(parts.stream, parts.chat, parts.grid, seed=3)


def test_prompts_follow_from_their_index_and_draw_anew_each_time(parts: Setup) -> None:
    count = parts.stream.epoch_size
    whole = stream(parts).prompts(range(count + 4))
    again = stream(parts).prompts([7, 2])
    assert [(p.ids, p.seed) for p in again] == [(whole[i].ids, whole[i].seed) for i in (7, 2)]
    assert len({p.seed for p in whole}) == len(whole)  # the same item comes again, with other completions
    assert len({p.item.id for p in whole}) < len(whole)


def test_permuting_the_batch_permutes_the_losses(parts: Setup) -> None:
    prompts = stream(parts).prompts(range(5))
    engine = LocalEngine(parts.net, parts.chat, parts.grid)
    groups = engine.generate(prompts, Images.of_prompts(prompts), Sampling(3, 6))
    advantages = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    settings = PolicySettings("grpo", max_completion_length=6)
    module = GroupLogprobs(parts.net)

    def losses(order: list[int]) -> torch.Tensor:
        chosen = [groups[i] for i in order]
        images = Images.of_prompts([group.prompt for group in chosen])
        now = module(collate_groups(parts.chat, parts.grid, chosen, images, parts.pad_id))
        # One step back, so that ratios, and with them the losses, depend on the log-probabilities.
        return policy_loss(now.logps, now.logps.detach() - 0.1, advantages[order], now.mask, None, settings).numerators

    order = [3, 0, 4, 1, 2]
    assert torch.allclose(losses(order), losses(list(range(5)))[order], atol=1e-6)


def test_option_probabilities_are_those_of_the_model_itself(parts: Setup, tiny_model: Path) -> None:
    """Against the forced-choice reading, row by row; with a grey image for the blank column."""
    model = models.load(str(tiny_model), device="cpu")
    texts = ("<answer>A</answer>", "<think>so</think><answer>B</answer>", "no tag", "<answer>A</answer>")
    shorter = ("<answer>C</answer>",) * 4
    groups = [
        Group(prompt, tuple(Completion((9,), text, False) for text in written))
        for prompt, written in zip(stream(parts).prompts([0, 1]), (texts, shorter))
    ]
    columns = answer_columns({"option_probs", "option_probs_blank"}, parts.net, parts.chat, parts.grid, groups)
    for name, blank in (("option_probs", False), ("option_probs_blank", True)):
        expected = []
        for group in groups:
            p = group.prompt
            image = np.full_like(p.image, GREY) if blank else p.image
            view = View(p.item, "clean", p.mode, p.messages, image)
            for completion in group.completions:
                (found,) = model.option_logprobs([view], [answer_prefix(completion.text)])
                expected.append(np.exp(found))
        for got, want in zip(columns[name], expected, strict=True):
            assert np.allclose(got, want, atol=1e-5)
    assert columns["option_probs"] != columns["option_probs_blank"]
    assert answer_columns((), parts.net, parts.chat, parts.grid, groups) == {}


@pytest.mark.parametrize("cycle", [{}, {"num_iterations": 2}], ids=["once", "twice"])
def test_leaving_out_groups_without_advantage_changes_nothing(
    grpo_recipe: GrpoRecipe, cycle: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "some.py"
    source.write_text(
        "def some(prompts, completions, completion_ids=None, *, modality, **_):\n"
        "    return [len(set(i)) if m in ('CT', 'MRI') else 1.0 for i, m in zip(completion_ids, modality)]\n"
    )
    recipe = changed(grpo_recipe, rewards=[f"{source}:some"], grpo=cycle, optim={"batch_size": 8, "accumulation": 2})
    seen: list[int] = []
    original = grpo._collate
    monkeypatch.setattr(grpo, "_collate", lambda run, rows: (seen.append(len(rows.groups)), original(run, rows))[1])
    without = grpo.train(recipe, tmp_path / "without", device="cpu", stop_at=2)
    left_out = sum(seen)
    seen.clear()
    monkeypatch.setattr(grpo, "_learning", lambda run, batch: torch.ones(len(batch.groups), dtype=torch.bool))
    whole = grpo.train(recipe, tmp_path / "whole", device="cpu", stop_at=2)
    assert left_out < 0.9 * sum(seen)
    for a, b in zip(rows(tmp_path / "without"), rows(tmp_path / "whole"), strict=True):
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-4)
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-6)
    left, right = weights(without), weights(whole)
    off = torch.cat([(left[n] - right[n]).abs().flatten() for n in left])
    assert float((off > 1e-5).float().mean()) < 0.01


def test_truncated_completions_teach_nothing_if_masked(grpo_recipe: GrpoRecipe, tmp_path: Path) -> None:
    """A random network hardly ever ends by itself: nothing is left to learn."""
    masked = changed(grpo_recipe, grpo={"mask_truncated_completions": True, "max_completion_length": 2})
    folder = grpo.train(masked, tmp_path, device="cpu", stop_at=1)
    assert rows(tmp_path)[0]["completions/clipped_ratio"] == 1
    before = weights(Path(grpo_recipe.model.init))
    assert all(torch.equal(value, before[name]) for name, value in weights(folder).items())


def test_reward_metrics_in_closed_form() -> None:
    nan = torch.nan
    totals = torch.tensor([[0.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
    rewards = torch.stack([totals, torch.tensor([[nan, 3.0], [nan, nan]])], dim=-1)
    assert reward_metrics(rewards, totals, ("a", "b")) == {
        "reward": 1.0,
        "reward_std": pytest.approx((2 / 3) ** 0.5),
        "frac_reward_zero_std": 0.5,
        "rewards/a/mean": 1.0,
        "rewards/a/std": pytest.approx((2 / 3) ** 0.5),
        "rewards/b/mean": 3.0,
        "rewards/b/std": 0.0,
    }
    unjudged = reward_metrics(torch.full((1, 2, 1), nan), torch.tensor([[nan, 1.0]]), ("a",))
    assert unjudged == {"reward": 1.0, "reward_std": 0.0, "frac_reward_zero_std": 1.0}


def test_completion_metrics_in_closed_form() -> None:
    found = completion_metrics(torch.tensor([[1, 3], [8, 8]]), torch.tensor([[False, False], [True, False]]))
    assert found == {
        "completions/mean_length": 5.0,
        "completions/min_length": 1.0,
        "completions/max_length": 8.0,
        "completions/clipped_ratio": 0.25,
    }
