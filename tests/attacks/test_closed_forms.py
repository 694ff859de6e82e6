"""Smallest perturbations against linear models, where the optimum is known: within 1.05x, in 8 bit."""

import math
from fractions import Fraction
from functools import partial

import pytest
import torch
from toy_scores import weights_of

from medproof.attacks.carlini_wagner import cw_l2
from medproof.attacks.ddn import ddn
from medproof.attacks.minimal import smallest_eps
from medproof.attacks.pgd import pgd
from medproof.attacks.threat import ThreatModel, levels, to_images

SHAPES = [(3, 1, 1), (3, 5, 9), (3, 28, 28)]
L2 = [pytest.param(partial(cw_l2, steps=100, search_steps=5), id="cw"), pytest.param(partial(ddn, steps=60), id="ddn")]


def pgd_40(score, images, threat, seeds):
    return pgd(score, images, threat, steps=40, seeds=seeds)


def image(shape, kind, seed=0):
    generator = torch.Generator().manual_seed(seed)
    if kind == "grey":
        return to_images(torch.randint(60, 196, shape, generator=generator))
    return to_images(torch.randint(0, 2, shape, generator=generator) * 255)


def two_options(w, clean, need):
    """Log-probabilities of two options: the wrong one wins once <w, x - clean> exceeds `need`."""
    offset = (w * clean).sum()

    def score(pixels, indices):
        lead = torch.stack([(w * x).sum() - offset - need for x in pixels])
        logprobs = torch.stack([torch.zeros_like(lead), lead], dim=1).log_softmax(1)
        margin = logprobs[:, 1] - logprobs[:, 0]
        return margin, margin.detach() > 0

    return score


def smallest(w, clean, need, norm):
    """Least distance at which <w, d> = need with clean + d in the box, by bisection over the multiplier."""
    w, room = w.double(), torch.where(w > 0, 1 - clean, clean).double()
    low, high = 0.0, 1e6
    for _ in range(100):
        middle = (low + high) / 2
        size = torch.minimum(middle * (w.abs() if norm == "l2" else torch.ones_like(w)), room)
        low, high = (middle, high) if float((size * w.abs()).sum()) < need else (low, middle)
    return float(torch.linalg.vector_norm(size.flatten(), 2 if norm == "l2" else math.inf))


def need_of(w, clean, distance):
    """The lead that a perturbation of about `distance` can make up, or 0.8 of what the box allows."""
    room = torch.where(w > 0, 1 - clean, clean)
    return min(distance * float(w.norm()), 0.8 * float((room * w.abs()).sum()))


@pytest.mark.parametrize("attack", L2)
@pytest.mark.parametrize("kind", ["grey", "black and white"])
@pytest.mark.parametrize("shape", SHAPES)
def test_l2_of_a_linear_model(attack, shape, kind):
    clean, w = image(shape, kind), weights_of(shape)
    need = need_of(w, clean, 0.6)
    result = attack(two_options(w, clean, need), [clean], seeds=[0])
    best = smallest(w, clean, need, "l2")
    assert result.success.tolist() == [True]
    assert best * 0.9999 <= float(result.distance[0]) <= 1.05 * best
    check_claims(result, [clean], two_options(w, clean, need))


@pytest.mark.parametrize("kind", ["grey", "black and white"])
@pytest.mark.parametrize("shape", SHAPES)
def test_linf_of_a_linear_model(shape, kind):
    clean, w = image(shape, kind), weights_of(shape)
    room = torch.where(w > 0, 1 - clean, clean)
    need = 0.999 * float((torch.clamp(room, max=40 / 255) * w.abs()).sum())
    best = smallest(w, clean, need, "linf")
    result = smallest_eps(pgd_40, two_options(w, clean, need), [clean], seeds=[0])
    assert best <= float(result.distance[0]) <= 1.05 * math.ceil(best * 255) / 255
    moved = (levels(result.images[0]) - levels(clean)).abs().max()
    assert float(result.distance[0]) == float(moved) / 255


@pytest.mark.parametrize("attack", L2)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_scale_of_the_loss_does_not_matter(attack, scale):
    clean, w = image((3, 28, 28), "grey"), weights_of((3, 28, 28))

    def score(pixels, indices):
        loss = scale * torch.stack([(w * (x - clean)).sum() - 0.6 * w.norm() for x in pixels])
        return loss, loss.detach() > 0

    result = attack(score, [clean], seeds=[0])
    assert float(result.distance[0]) == pytest.approx(0.6, rel=0.05)


@pytest.mark.parametrize("attack", L2)
def test_nearest_of_several_options(attack):
    """Ten options by log-probability: the optimum is the nearest of nine half-spaces."""
    clean = image((3, 8, 8), "grey")
    rows = torch.randn((10, 192), generator=torch.Generator().manual_seed(3))
    logits = rows @ clean.flatten()
    right = int(logits.argmax())
    gaps = [float((logits[right] - logits[j]) / (rows[right] - rows[j]).norm()) for j in range(10) if j != right]

    def score(pixels, indices):
        logprobs = torch.stack([(rows @ x.flatten()).log_softmax(0) for x in pixels])
        wrong = torch.arange(10) != right
        margin = logprobs[:, wrong].amax(1) - logprobs[:, right]
        return margin, margin.detach() > 0

    result = attack(score, [clean], seeds=[0])
    assert float(result.distance[0]) <= 1.05 * min(gaps)


@pytest.mark.parametrize("attack", L2)
def test_below_half_a_grey_level_the_best_8_bit_image_is_found(attack):
    """A quarter of a level per value: nearest rounding gives the clean image back."""
    clean, w = image((3, 28, 28), "grey"), weights_of((3, 28, 28))
    need = need_of(w, clean, 0.05)
    result = attack(two_options(w, clean, need), [clean], seeds=[0])
    gains = torch.sort(w.abs().flatten(), descending=True).values.double() / 255
    changed = int((gains.cumsum(0) < need).sum()) + 1  # one level each on the steepest values
    assert float(result.distance[0]) <= 1.05 * math.sqrt(changed) / 255


@pytest.mark.parametrize("attack", L2)
def test_a_plateau_is_reported_not_walked(attack):
    clean = image((3, 5, 9), "grey")

    def score(pixels, indices):
        loss = torch.stack([(x * 0).sum() - 1 for x in pixels])
        return loss, loss.detach() > 0

    result = attack(score, [clean], seeds=[0])
    assert result.success.tolist() == [False]
    assert result.distance.tolist() == [math.inf]
    assert torch.equal(result.images[0], clean)
    assert torch.equal(result.zero_gradients, result.backwards)


def check_claims(result, clean, score):
    """Distance and verdict, measured again on the 8-bit images alone."""
    for i, (attacked, original) in enumerate(zip(result.images, clean)):
        moved = (levels(attacked).long() - levels(original).long()).flatten()
        assert float(result.distance[i]) == pytest.approx(math.sqrt(sum(d * d for d in moved.tolist())) / 255, rel=1e-9)
        assert ThreatModel("l2", Fraction(float(result.distance[i]) * (1 + 1e-9))).contains(attacked, original)
    _, adversarial = score(result.images, range(len(clean)))
    assert torch.equal(adversarial, result.success)
