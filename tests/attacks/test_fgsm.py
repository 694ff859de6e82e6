"""FGSM: exact on linear models, one gradient."""

from fractions import Fraction

import pytest
import torch
from toy_scores import any_image, linear

from medproof.attacks.fgsm import fgsm
from medproof.attacks.threat import ThreatModel, levels, to_images


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 28, 28)])
@pytest.mark.parametrize("k", [1, 8, 255])
def test_linear_model_linf_is_solved_in_one_step(shape, k):
    clean, w = any_image(shape), torch.randn(shape, generator=torch.Generator().manual_seed(1))
    result = fgsm(linear(w, -1e3), [clean], ThreatModel("linf", Fraction(k, 255)))
    assert torch.equal(levels(result.images[0]), (levels(clean) + k * w.sign().int()).clamp(0, 255))
    assert result.forwards.tolist() == [2]
    assert result.backwards.tolist() == [1]


def test_linear_model_l2_follows_the_gradient():
    clean = to_images(torch.full((3, 28, 28), 128))
    w = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    result = fgsm(linear(w, -1e3), [clean], ThreatModel("l2", Fraction(4)))
    gain = float((w.double() * (result.images[0] - clean).double()).sum())
    assert 0.99 <= gain / (4 * float(w.norm())) <= 1.0001


def test_a_step_that_overshoots_leaves_the_clean_image():
    clean = to_images(torch.full((3, 2, 2), 128))

    def score(pixels, indices):
        up = torch.stack([(x - clean).mean() for x in pixels])
        return torch.where(up > 0.01, up - 1, up), torch.zeros(len(up), dtype=torch.bool)

    result = fgsm(score, [clean], ThreatModel("linf", Fraction(8, 255)))
    assert torch.equal(result.images[0], clean)


def test_a_gradient_that_is_zero_is_counted():
    def score(pixels, indices):
        loss = torch.stack([(x * 0).sum() - 1 for x in pixels])
        return loss, loss.detach() > 0

    result = fgsm(score, [any_image((3, 5, 9))], ThreatModel("l2", Fraction(1)))
    assert result.zero_gradients.tolist() == [1]
    assert torch.equal(result.images[0], any_image((3, 5, 9)))
