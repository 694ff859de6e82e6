"""The control: as large as the ball allows, blind, and the same noise as the conditions of that name."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from medproof.attacks.random_noise import random_border, random_noise
from medproof.attacks.threat import ThreatModel, levels, to_images
from medproof.conditions.noise import _random_sign
from medproof.images.preprocess import to_float, to_uint8
from medproof.seeds import rng

LINF = ThreatModel("linf", Fraction(8, 255))
L2 = ThreatModel("l2", Fraction(1))
GREY = to_images(torch.full((3, 28, 28), 128))


def test_linf_is_the_border_everywhere_and_half_up():
    moved = levels(random_border(GREY, LINF, rng(0, "", ""))) - 128
    assert (moved.abs() == 8).all()
    assert 0.45 < (moved > 0).float().mean() < 0.55


def test_l2_has_the_length_of_the_ball_also_at_black_and_white():
    for clean in (GREY, to_images((torch.arange(GREY.numel()) % 2 * 255).reshape(GREY.shape))):
        noisy = random_border(clean, L2, rng(0, "", ""))
        assert 0.98 * L2.budget <= L2.distance(noisy, clean) <= L2.budget


def test_linf_is_the_noise_of_the_condition():
    """`random_sign` is the control twin of an attack and imports no torch; this one draws the same."""
    pixels = rng(1, "", "").integers(0, 256, (28, 14, 3)).astype(np.uint8)
    expected = _random_sign(pixels, {"eps": "8/255"}, rng(2, "", ""))
    assert np.array_equal(to_uint8(random_border(to_float(pixels), LINF, rng(2, "", ""))), expected)


def test_draws_differ_the_best_is_kept_and_success_ends_them():
    shown = []

    def score(pixels, indices):
        shown.extend((i, levels(x)) for x, i in zip(pixels, indices))
        loss = torch.stack([(x - GREY).sum() for x in pixels])
        return loss, torch.tensor([i == 1 and not torch.equal(x, GREY) for x, i in zip(pixels, indices)])

    result = random_noise(score, [GREY, GREY], LINF, draws=6, seeds=[0, 1])
    assert result.forwards.tolist() == [7, 2]
    assert result.restarts_used.tolist() == [6, 1]
    drawn = [grey for i, grey in shown if i == 0]
    assert len({tuple(grey.flatten().tolist()) for grey in drawn}) == 7
    assert torch.equal(levels(result.images[0]), max(drawn, key=lambda grey: int(grey.sum())))
    with pytest.raises(ValueError, match="draws"):
        random_noise(score, [GREY], LINF, draws=0, seeds=[0])
    with pytest.raises(ValueError, match="seeds"):
        random_noise(score, [GREY], LINF, seeds=[0, 1])
