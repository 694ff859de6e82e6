"""Advantages against their closed form, and what must not change them."""

from __future__ import annotations

import pytest
import torch

from medproof.training.advantages import ScaleRewards, group_advantages

SCALES: tuple[ScaleRewards, ...] = ("group", "batch", "none")


def test_closed_form_of_med_r1() -> None:
    """(r - mean) / (std + 1e-4), G = 4, with the unbiased standard deviation: here 1."""
    rewards = torch.tensor([[2.0, 1.0, 0.5, 0.5]])
    std = (((rewards - 1) ** 2).sum() / 3).sqrt()
    torch.testing.assert_close(group_advantages(rewards), (rewards - 1) / (std + 1e-4))


def test_scale_of_the_batch_and_none() -> None:
    rewards = torch.tensor([[0.0, 2.0], [5.0, 5.0]])
    std = rewards.std()
    torch.testing.assert_close(
        group_advantages(rewards, "batch"), torch.tensor([[-1.0, 1.0], [0.0, 0.0]]) / (std + 1e-4)
    )
    assert group_advantages(rewards, "none").tolist() == [[-1.0, 1.0], [0.0, 0.0]]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("g", range(1, 9))
def test_a_group_of_equal_rewards_teaches_exactly_nothing(g: int, scale: ScaleRewards) -> None:
    """0.1 is not exact in binary: its mean over 6 is not 0.1, and 1e-4 would make an advantage of the rounding."""
    rewards = torch.tensor([[0.1] * g, [0.7] * g], dtype=torch.float32)
    assert not group_advantages(rewards, scale).any()


@pytest.mark.parametrize("scale", SCALES)
def test_what_no_one_judged_counts_nowhere(scale: ScaleRewards) -> None:
    nan = torch.nan
    found = group_advantages(torch.tensor([[1.0, nan, 0.0], [nan, nan, nan], [1.0, nan, nan]]), scale)
    assert not found[1:].any()
    assert found[0, 1] == 0
    if scale == "group":
        torch.testing.assert_close(found[0, [0, 2]], group_advantages(torch.tensor([[1.0, 0.0]]))[0])


@pytest.mark.parametrize("scale", SCALES)
def test_order_does_not_matter(scale: ScaleRewards) -> None:
    rewards = torch.rand(5, 4, generator=torch.Generator().manual_seed(0))
    groups, members = torch.tensor([3, 1, 4, 0, 2]), torch.tensor([2, 0, 3, 1])
    found = group_advantages(rewards[groups][:, members], scale)
    torch.testing.assert_close(found, group_advantages(rewards, scale)[groups][:, members])


def test_groups_do_not_touch_each_other() -> None:
    rewards = torch.rand(5, 4, generator=torch.Generator().manual_seed(1))
    alone = torch.cat([group_advantages(group[None]) for group in rewards])
    assert torch.equal(alone, group_advantages(rewards))
