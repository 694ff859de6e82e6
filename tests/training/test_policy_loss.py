"""The policy loss against closed forms, and what must not change it. Equality with TRL: tests/peers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medproof.training.policy_loss import (
    STATISTICS,
    LossType,
    PolicyLoss,
    PolicySettings,
    denominator,
    policy_loss,
    policy_metrics,
)

LOSSES: tuple[LossType, ...] = ("grpo", "dr_grpo", "dapo", "gspo")
B, G, L = 8, 4, 6


def make(loss_type: LossType, **changes: float | None) -> PolicySettings:
    return replace(PolicySettings(loss_type, max_completion_length=10, epsilon=0.2, beta=0.04), **changes)


def batch(seed: int = 0) -> dict[str, torch.Tensor]:
    """Log-probabilities [8, 4, 6] of three models, entropy, advantages [8, 4], and a mask of which one row is empty."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    logps = -3 * draw(B, G, L)
    mask = torch.arange(L) < torch.randint(1, L + 1, (B, G, 1), generator=generator)
    mask[0, 0] = False
    old, ref = logps + draw(B, G, L) - 0.5, logps + draw(B, G, L) - 0.5
    advantages = 2 * draw(B, G) - 1
    return {"logps": logps, "old": old, "ref": ref, "entropy": draw(B, G, L), "mask": mask, "advantages": advantages}


def run(given: dict[str, torch.Tensor], settings: PolicySettings) -> PolicyLoss:
    return policy_loss(
        given["logps"],
        given["old"],
        given["advantages"],
        given["mask"],
        given["ref"],
        settings,
        entropy=given["entropy"],
    )


def step(
    parts: list[dict[str, torch.Tensor]], settings: PolicySettings
) -> tuple[float, torch.Tensor, dict[str, float]]:
    """(loss, gradient [8, 4, 6], metrics), as a trainer takes them: one backward per part, one denominator for all."""
    total = torch.stack([denominator(part["mask"], settings) for part in parts]).sum().clamp(min=1)
    loss, gradients, statistics = 0.0, [], []
    for part in parts:
        logps = part["logps"].clone().requires_grad_()
        found = run(part | {"logps": logps}, settings)
        (found.numerators.sum() / total).backward()
        assert logps.grad is not None
        gradients.append(torch.nn.functional.pad(logps.grad, (0, L - logps.shape[-1])))
        statistics.append(found.statistics)
        loss += found.numerators.sum().item() / total.item()
    return loss, torch.cat(gradients), policy_metrics(torch.cat(statistics))


def cut(given: dict[str, torch.Tensor], parts: int) -> list[dict[str, torch.Tensor]]:
    """Into micro-batches, each padded no longer than its own longest completion."""
    pieces = []
    for index in torch.arange(B).chunk(parts):
        piece = {name: value[index] for name, value in given.items()}
        longest = int(piece["mask"].sum(-1).max())
        pieces.append({name: value[..., :longest] if value.dim() == 3 else value for name, value in piece.items()})
    return pieces


@pytest.mark.parametrize("loss_type", LOSSES)
@pytest.mark.parametrize("parts", [2, 8])
def test_cutting_into_micro_batches_changes_nothing(loss_type: LossType, parts: int) -> None:
    """8 x 1 is 1 x 8, and two processes are one: the gradients to the bit, sums up to their order in float64."""
    settings, whole = make(loss_type), batch()
    loss, gradient, metrics = step([whole], settings)
    cut_loss, cut_gradient, cut_metrics = step(cut(whole, parts), settings)
    assert torch.equal(cut_gradient, gradient)
    assert cut_loss == pytest.approx(loss, rel=1e-13)
    assert cut_metrics == pytest.approx(metrics, rel=1e-13)


@pytest.mark.parametrize("loss_type", LOSSES)
def test_permuting_groups_permutes_the_losses(loss_type: LossType) -> None:
    settings, given = make(loss_type), batch()
    order = torch.tensor([3, 7, 0, 2, 6, 1, 5, 4])
    found = run({name: value[order] for name, value in given.items()}, settings)
    assert torch.equal(found.numerators, run(given, settings).numerators[order])


@given(seed=st.integers(0, 2**32), loss_type=st.sampled_from(LOSSES))
def test_what_stands_off_the_mask_does_not_matter(seed: int, loss_type: LossType) -> None:
    settings, given = make(loss_type), batch(seed)
    wild = {
        name: torch.where(given["mask"], given[name], torch.tensor(value))
        for name, value in (("logps", -math.inf), ("old", math.nan), ("ref", math.inf), ("entropy", math.nan))
    }
    loss, gradient, metrics = step([given], settings)
    assert step([given | wild], settings)[0] == loss
    assert torch.equal(step([given | wild], settings)[1], gradient)
    assert step([given | wild], settings)[2] == metrics
    assert not gradient[~given["mask"]].any()


@pytest.mark.parametrize("loss_type", LOSSES)
def test_on_policy_gradient_is_the_policy_gradient(loss_type: LossType) -> None:
    """Without KL and with the sampling policy: -A per token, over the denominator and for grpo and gspo the length."""
    settings, given = make(loss_type, beta=0.0), batch()
    logps = given["logps"].clone().requires_grad_()
    found = policy_loss(logps, None, given["advantages"], given["mask"], None, settings)
    found.numerators.sum().backward()
    length = given["mask"].sum(-1, keepdim=True).clamp(min=1) if loss_type in ("grpo", "gspo") else 1
    expected = -given["advantages"][..., None] * given["mask"] / length
    torch.testing.assert_close(logps.grad, expected)
    assert policy_metrics(found.statistics)["ratio/mean"] == 1


def test_denominators() -> None:
    """A masked completion still counts as one, except in dapo, where only tokens count."""
    mask = batch()["mask"]
    assert denominator(mask, make("grpo")) == B * G
    assert denominator(mask, make("gspo")) == B * G
    assert denominator(mask, make("dr_grpo")) == B * G * 10
    assert denominator(mask, make("dapo")) == mask.sum()


def test_clipping_stops_the_gradient_where_it_should() -> None:
    """Ratio 1.5 with A > 0 and 0.5 with A < 0 are clipped; the other two signs keep their gradient (PPO)."""
    ratio = torch.tensor([1.5, 0.5, 1.5, 0.5]).reshape(1, 4, 1)
    advantages = torch.tensor([[1.0, -1.0, -1.0, 1.0]])
    logps = ratio.log().requires_grad_()
    settings = make("dapo", beta=0.0, epsilon_high=0.28)
    found = policy_loss(logps, torch.zeros(1, 4, 1), advantages, torch.ones(1, 4, 1, dtype=torch.bool), None, settings)
    found.numerators.sum().backward()
    assert found.numerators.item() == pytest.approx(-1.28 + 0.8 + 1.5 - 0.5)
    torch.testing.assert_close(logps.grad, torch.tensor([0.0, 0.0, 1.5, -0.5]).reshape(1, 4, 1))
    at = dict(zip(STATISTICS, found.statistics[0].T.tolist(), strict=True))
    assert (at["low"], at["high"]) == ([0, 1, 0, 0], [1, 0, 0, 0])
    metrics = policy_metrics(found.statistics)
    assert (metrics["clip_ratio/low_mean"], metrics["clip_ratio/high_mean"]) == (0.25, 0.25)
    assert (metrics["clip_ratio/low_min"], metrics["clip_ratio/high_max"]) == (0, 1)
    assert metrics["clip_ratio/region_mean"] == 0.5
    assert (metrics["ratio/min"], metrics["ratio/max"]) == pytest.approx((0.5, 1.5))


def test_without_epsilon_high_the_range_is_symmetric() -> None:
    losses = [run(batch(), make("dapo", epsilon=0.1, epsilon_high=high)).numerators for high in (None, 0.1, 0.2)]
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])


def test_kl_is_schulmans_k3() -> None:
    """exp(d) - d - 1 with d = log(reference / policy): 0 for equal models, else positive."""
    mask = torch.ones(1, 1, 2, dtype=torch.bool)
    logps, ref = torch.tensor([[[-1.0, -2.0]]]), torch.tensor([[[-1.0, -0.5]]])
    found = policy_loss(logps, None, torch.zeros(1, 1), mask, ref, make("dapo", beta=2.0))
    assert found.numerators.item() == pytest.approx(2 * (math.exp(1.5) - 2.5))
    assert policy_metrics(found.statistics)["kl"] == pytest.approx((math.exp(1.5) - 2.5) / 2)


def test_without_beta_the_reference_is_not_read() -> None:
    given = batch()
    found = run(given | {"ref": torch.full((B, G, L), math.nan)}, make("grpo", beta=0.0))
    assert found.numerators.isfinite().all()
    assert "kl" not in policy_metrics(found.statistics)
    with pytest.raises(ValueError, match="reference"):
        policy_loss(given["logps"], None, given["advantages"], given["mask"], None, make("grpo"))


@pytest.mark.parametrize("loss_type", LOSSES)
def test_nothing_left_to_learn_from_is_a_loss_of_zero(loss_type: LossType) -> None:
    given = batch() | {"mask": torch.zeros(B, G, L, dtype=torch.bool)}
    loss, gradient, metrics = step([given], make(loss_type))
    assert loss == 0
    assert not gradient.any()
    assert all(math.isfinite(value) for value in metrics.values())


def test_statistics_have_their_names() -> None:
    assert run(batch(), make("gspo")).statistics.shape == (B, G, len(STATISTICS))


@pytest.mark.parametrize("loss_type", ["grpo", "dr_grpo", "dapo", "gspo"])
def test_a_penalty_is_added_per_token_as_the_kl_is(loss_type: LossType) -> None:
    """With the value of k3 times beta as penalty, beta 0 gives what beta gives."""
    torch.manual_seed(0)
    logps, reference = -torch.rand(2, 3, 4), -torch.rand(2, 3, 4)
    mask = torch.arange(4) < torch.tensor([[4, 2, 1], [3, 3, 4]])[..., None]
    advantages = torch.randn(2, 3)
    gap = reference - logps
    penalty = 0.3 * (gap.exp() - gap - 1)
    by_kl = policy_loss(logps, None, advantages, mask, reference, PolicySettings(loss_type, 8, beta=0.3))
    by_penalty = policy_loss(logps, None, advantages, mask, None, PolicySettings(loss_type, 8), penalty=penalty)
    torch.testing.assert_close(by_penalty.numerators, by_kl.numerators, rtol=1e-6, atol=1e-7)
