"""PGD's step rules: their sizes, and that each solves what has one answer."""

from fractions import Fraction

import pytest
import torch

from medproof.attacks.pgd import pgd
from medproof.attacks.step_rules import STEP_RULES, constant, cosine
from medproof.attacks.threat import ThreatModel, to_images


def test_sizes():
    assert [cosine(0.1, step, 2) for step in range(2)] == pytest.approx([0.2, 0.1])
    assert cosine(0.1, 99, 100) < 1e-4
    assert [constant(0.1, step, 10) for step in (0, 9)] == pytest.approx([0.025, 0.025])
    for size in (cosine, constant):
        # From anywhere in the ball its far side is in reach.
        assert sum(size(1.0, step, 20) for step in range(20)) >= 2


@pytest.mark.parametrize("rule", STEP_RULES)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("black_and_white", [False, True])
def test_linear_model_reaches_the_analytic_optimum(rule, norm, black_and_white):
    grey = torch.randint(60, 196, (3, 28, 28), generator=torch.Generator().manual_seed(0))
    clean = to_images((grey > 128) * 255 if black_and_white else grey)
    w = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))

    def score(pixels, indices):
        loss = torch.stack([(w * x).sum() for x in pixels])
        return loss, torch.zeros(len(loss), dtype=torch.bool)

    threat = ThreatModel(norm, Fraction(8, 255) if norm == "linf" else Fraction(2))
    free = torch.where(clean == 0, w > 0, torch.where(clean == 1, w < 0, True))
    result = pgd(score, [clean], threat, steps=30, seeds=[0], rule=rule)
    gain = float((w.double() * (result.images[0] - clean).double()).sum())
    dual = float(w[free].abs().sum()) if norm == "linf" else float(w[free].norm())
    assert gain == pytest.approx(float(threat.eps) * dual, rel=0.02)


def test_momentum_passes_through_a_gradient_that_turns_back_and_forth():
    """A slope up under a ripple that turns the gradient's sign: momentum averages the ripple out."""
    clean = to_images(torch.full((3, 1, 1), 128))
    calls = []

    def score(pixels, indices):
        calls.append(1)
        along = sum((x - clean).sum() for x in pixels)
        push = 1.0 if len(calls) % 3 else -1.5  # two steps up, one down
        return torch.stack([push * along]), torch.tensor([False])

    threat = ThreatModel("linf", Fraction(100, 255))
    reached = {}
    for rule in ("constant", "momentum"):
        calls.clear()
        ends = []

        def watched(pixels, indices, ends=ends):
            ends.append((pixels[0] - clean).mean().item())
            return score(pixels, indices)

        pgd(watched, [clean], threat, steps=9, seeds=[0], starts=[clean], rule=rule)
        reached[rule] = ends[-1]
    assert reached["momentum"] > reached["constant"]
