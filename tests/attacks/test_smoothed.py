"""Expectation over noise: its gradient in closed form, its noise, and the attack on a model that hides behind it."""

from fractions import Fraction

import pytest
import torch
from toy_scores import image

from medproof.attacks.pgd import pgd
from medproof.attacks.smoothed import SmoothedScore
from medproof.attacks.threat import ThreatModel, levels

SIGMA = 0.1


def gradient_at(score, clean, index=0):
    leaf = clean.clone().requires_grad_()
    loss, _ = score([leaf], [index])
    return loss.detach(), torch.autograd.grad(loss.sum(), leaf)[0]


def test_a_linear_model_has_the_gradient_it_has_without_noise():
    w, clean = torch.randn((3, 5, 9), generator=torch.Generator().manual_seed(1)), image((3, 5, 9))

    def score(pixels, indices):
        loss = torch.stack([(w * x).sum() for x in pixels])
        return loss, loss.detach() > 0

    _, gradient = gradient_at(SmoothedScore(score, sigma=SIGMA, draws=7, seeds=[0]), clean)
    assert torch.allclose(gradient, w, atol=1e-6)


def test_the_mean_of_a_wave_under_noise_is_the_wave_flattened():
    """E sin(k (x + n)) = exp(-(k sigma)^2 / 2) sin(k x) for Gaussian n; so is its gradient."""
    k, clean = 12.0, image((3, 60, 60))

    def score(pixels, indices):
        loss = torch.stack([torch.sin(k * x).mean() for x in pixels])
        return loss, loss.detach() > 0

    loss, gradient = gradient_at(SmoothedScore(score, sigma=SIGMA, draws=200, seeds=[0]), clean)
    flat = float(torch.exp(torch.tensor(-((k * SIGMA) ** 2) / 2)))
    assert float(loss) == pytest.approx(flat * float(torch.sin(k * clean).mean()), abs=2e-3)
    expected = flat * k * torch.cos(k * clean) / clean.numel()
    error = (gradient - expected).norm() / expected.norm()
    assert error < 0.14  # a mean of 200 draws: 0.125
    sharp = (gradient - expected / flat).norm() / expected.norm()
    assert sharp > 0.5  # it is not the gradient without noise


def test_noise_is_gaussian_unclipped_seeded_per_example_and_fresh_at_each_call():
    clean, seen = [torch.zeros(3, 20, 20), torch.ones(3, 20, 20)], []

    def score(pixels, indices):
        seen.append([x - clean[i] for x, i in zip(pixels, indices)])
        loss = torch.stack([x.sum() for x in pixels])
        return loss, loss > 0

    def noise_of(order, calls, **more):
        seen.clear()
        smoothed = SmoothedScore(score, sigma=SIGMA, draws=3, seeds=[5, 6], **more)
        for _ in range(calls):
            smoothed([clean[i] for i in order], order)
        return {i: torch.stack([draw[row] for draw in seen]) for row, i in enumerate(order)}

    both, alone = noise_of([0, 1], 2), noise_of([1], 2)
    assert torch.equal(both[1], alone[1])  # 2 calls of 3 draws
    flat = both[0].flatten(1)
    assert abs(float(flat.std()) / SIGMA - 1) < 0.05
    assert abs(float(flat.mean())) < 0.01
    assert (torch.corrcoef(torch.cat([flat, both[1].flatten(1)])) - torch.eye(12)).abs().max() < 0.15
    assert (both[0] < 0).any()  # below black
    fixed = noise_of([0], 2, fresh=False)[0]
    assert torch.equal(fixed[:3], fixed[3:])
    assert torch.equal(fixed[:3], both[0][:3])


@pytest.mark.parametrize(("wrong", "verdict"), [(0, False), (2, False), (3, True), (4, True)])
def test_the_majority_decides(wrong, verdict):
    calls = []

    def score(pixels, indices):
        calls.append(1)
        return torch.stack([x.sum() for x in pixels]), torch.tensor([len(calls) <= wrong] * len(pixels))

    _, adversarial = SmoothedScore(score, sigma=SIGMA, draws=4, seeds=[0])([image((3, 2, 2))], [0])
    assert adversarial.tolist() == [verdict]
    assert len(calls) == 4


def test_one_call_costs_its_draws():
    class Inner:
        forwards_per_call = 2

        def __call__(self, pixels, indices):
            raise AssertionError

    assert SmoothedScore(Inner(), sigma=0, draws=5, seeds=[]).forwards_per_call == 10
    assert SmoothedScore(lambda pixels, indices: None, sigma=0, draws=5, seeds=[]).forwards_per_call == 5
    for bad in ({"sigma": -1, "draws": 1}, {"sigma": 0, "draws": 0}):
        with pytest.raises(ValueError, match="draws"):
            SmoothedScore(Inner(), seeds=[], **bad)


def staircase(clean, w):
    """A linear model behind a staircase: it has no gradient, and smoothing gives it one back."""

    def score(pixels, indices):
        rise = torch.stack([(w * (x - clean[i])).sum() for x, i in zip(pixels, indices)])
        step = rise + (rise.round() - rise).detach()
        loss = torch.tanh(step) - 0.3
        return loss, loss.detach() > 0

    return score


def test_an_attack_through_the_noise_is_the_same_alone_or_in_a_batch_and_its_images_are_8_bit():
    clean = [image((3, 5, 9), 0), image((3, 5, 9), 1)]
    w, threat = (
        torch.randn((3, 5, 9), generator=torch.Generator().manual_seed(1)),
        ThreatModel("linf", Fraction(8, 255)),
    )

    def attack(order):
        inner = staircase([clean[i] for i in order], w)
        score = SmoothedScore(inner, sigma=SIGMA, draws=4, seeds=order)
        return pgd(score, [clean[i] for i in order], threat, steps=6, seeds=order)

    both = attack([0, 1])
    for i in (0, 1):
        alone = attack([i])
        assert torch.equal(alone.images[0], both.images[i])
        assert torch.equal(alone.loss[0], both.loss[i])
        levels(both.images[i])  # raises unless 8-bit
    assert both.success.all()
