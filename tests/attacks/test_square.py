"""Square Attack: no gradient needed, queries counted, decisions enough, squares inside the image."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from toy_scores import image, linear

from medproof.attacks.pgd import pgd
from medproof.attacks.square import _pyramid, square
from medproof.attacks.threat import ThreatModel, levels, to_images

LINF = ThreatModel("linf", Fraction(8, 255))
L2 = ThreatModel("l2", Fraction(1))
both_norms = pytest.mark.parametrize("threat", [LINF, L2], ids=["linf", "l2"])


def smooth_weights(side):
    """Weights of few waves, as a picture's are."""
    ramp = torch.linspace(0, 3, side)
    return torch.stack([torch.sin(ramp)[:, None] * torch.cos((1 + c) * ramp)[None] for c in range(3)])


@pytest.mark.parametrize(("threat", "share"), [(LINF, 0.93), (L2, 0.5)], ids=["linf", "l2"])
def test_linear_model_comes_close_to_the_optimum(threat, share):
    clean, w = image((3, 14, 14)), smooth_weights(14)
    result = square(linear(w, -1e3), [clean], threat, queries=1500, seeds=[0])
    gain = float((w * (result.images[0] - clean)).sum())
    best = float(threat.eps) * float(w.abs().sum() if threat.norm == "linf" else w.norm())
    assert share * best <= gain <= best * 1.0001


@both_norms
def test_a_model_that_hides_its_gradient_falls_to_square_alone(threat):
    """A staircase: its gradient is zero everywhere."""
    clean, w = image((3, 16, 16)), smooth_weights(16)
    best = float(threat.eps) * float(w.abs().sum() if threat.norm == "linf" else w.norm())

    def score(pixels, indices):
        rise = torch.stack([(w * (x - clean)).sum() for x in pixels]) / best
        loss = (rise * 40).floor() / 40 - 0.3 + rise * 0
        return loss, loss.detach() > 0

    blind = pgd(score, [clean], threat, steps=20, seeds=[0])
    assert blind.success.tolist() == [False]
    assert blind.zero_gradients.tolist() == [20]
    found = square(score, [clean], threat, queries=600, seeds=[0])
    assert found.success.tolist() == [True]
    assert found.backwards.tolist() == [0]
    assert threat.contains(found.images[0], clean)


@pytest.mark.parametrize(("threat", "share"), [(LINF, 0.3), (L2, 0.12)], ids=["linf", "l2"])
def test_decisions_alone_are_enough(threat, share):
    """Loss 0 or 1: every change ties, and the walk ends at the first image that is wrong."""
    clean, w = image((3, 8, 8)), smooth_weights(8)
    best = float(threat.eps) * float(w.abs().sum() if threat.norm == "linf" else w.norm())
    asked = []

    def score(pixels, indices):
        asked.append(levels(pixels[0]))
        wrong = torch.stack([(w * (x - clean)).sum() > share * best for x in pixels])
        return wrong.float(), wrong

    result = square(score, [clean], threat, queries=500, seeds=[0])
    assert result.success.tolist() == [True]
    assert result.forwards.tolist() == [len(asked)]
    assert len(asked) > 2
    assert torch.equal(levels(result.images[0]), asked[-1])


@both_norms
def test_queries_are_the_most_images_shown_and_success_ends_the_search(threat):
    clean, w = [image((3, 9, 9), seed) for seed in range(3)], smooth_weights(9)
    offsets = [1e3, float((w * clean[1]).sum()) + 0.01, -1e3]  # never wrong, wrong a small step away, wrong as it is

    def score(pixels, indices):
        loss = torch.stack([(w * x).sum() - offsets[i] for x, i in zip(pixels, indices)])
        return loss, loss.detach() > 0

    result = square(score, clean, threat, queries=200, seeds=range(3))
    assert result.success.tolist() == [False, True, True]
    assert result.forwards[0] == 200
    assert 1 < result.forwards[1] < 200
    assert result.forwards[2] == 1
    assert torch.equal(result.images[2], clean[2])
    more = square(score, clean, threat, queries=200, seeds=range(3), enough=float("inf"))
    assert more.forwards.tolist() == [200, 200, 200]
    assert (more.loss >= result.loss).all()


@both_norms
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_single_pixel_black_or_white_or_grey(threat, grey):
    clean, w = to_images(torch.full((3, 1, 1), grey)), torch.tensor([1.0, -2.0, 0.5]).view(3, 1, 1)
    small = ThreatModel("l2", Fraction(8, 255)) if threat.norm == "l2" else threat
    result = square(linear(w, -1e3), [clean], small, queries=60, seeds=[0])
    assert small.contains(result.images[0], clean)
    gain = float((w * (result.images[0] - clean)).sum())
    free = torch.where(clean == 0, w > 0, torch.where(clean == 1, w < 0, True))
    best = float(small.eps) * float(w[free].abs().sum() if threat.norm == "linf" else w[free].norm())
    assert gain == pytest.approx(best, rel=1e-4 if threat.norm == "linf" else 0.4)


def test_linf_squares_end_at_the_border_of_the_ball():
    clean = image((3, 12, 20), low=20, high=230)
    shown = []

    def score(pixels, indices):
        shown.extend(levels(x) - levels(clean) for x in pixels)
        return torch.stack([x.sum() * 0 for x in pixels]), torch.zeros(len(pixels), dtype=torch.bool)

    square(score, [clean], LINF, queries=40, seeds=[0])
    assert all((delta.abs() == 8).all() for delta in shown[1:])
    changed = [(a != b).any(0).nonzero() for a, b in pairwise(shown[1:])]  # all ties, so all kept
    sides = [int((where.max(0).values - where.min(0).values + 1).max()) for where in changed]
    # Area 0.8 of 12 x 20, halved at 10, 50, 200, 1000 and so on of 10,000 queries; the shorter side is the most.
    assert max(sides) <= 12
    assert max(sides[12:]) <= round((0.8 * 240 / 2**4) ** 0.5)
    assert max(sides[-4:]) <= 1


def test_a_mask_is_searched_within_its_box():
    clean, evidence = image((3, 28, 28)), torch.zeros(28, 28, dtype=torch.bool)
    evidence[20:24, 3:7] = True
    result = square(linear(smooth_weights(28), -1e3), [clean], LINF, queries=40, seeds=[0], allowed=[evidence])
    moved = (levels(result.images[0]) - levels(clean)).abs()
    assert (moved[:, evidence] == 8).all()
    assert not moved[:, ~evidence].any()


def test_pyramids_rise_to_the_middle():
    assert _pyramid(1, 1).tolist() == [[1.0]]
    # A cell k rings inside holds the sum over j <= k of 1 / (n + 1 - j)^2; here n = 2.
    edge, ring, top = 1 / 9, 1 / 9 + 1 / 4, 1 / 9 + 1 / 4 + 1
    expected = np.full((5, 5), edge)
    expected[1:4, 1:4], expected[2, 2] = ring, top
    assert _pyramid(5, 5) == pytest.approx(expected)


@pytest.mark.parametrize("change", [{"queries": 0}, {"area": 0.0}, {"area": 1.5}, {"seeds": [0, 1]}])
def test_impossible_calls_are_refused(change):
    with pytest.raises(ValueError, match=r"queries|area|seeds"):
        square(linear(smooth_weights(4)), [image((3, 4, 4))], LINF, **{"queries": 5, "seeds": [0], **change})
