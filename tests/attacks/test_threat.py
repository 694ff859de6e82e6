"""The ball is kept in exact integers, whatever floats come in."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from toy_scores import any_image

from medproof.attacks import ThreatModel, levels, to_images

SHAPES = [(3, 1, 1), (3, 28, 28), (3, 5, 9)]


@given(
    k=st.integers(0, 255),
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 2**31),
    spread=st.sampled_from([0.0, 1e-3, 0.05, 1.0, 30.0]),
    black_and_white=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_linf_finish_is_inside_the_ball_and_the_box(k, shape, seed, spread, black_and_white):
    threat = ThreatModel("linf", Fraction(k, 255))
    clean = any_image(shape, seed, black_and_white)
    wild = clean + spread * torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1))
    done = threat.finish(wild[None], clean[None])[0]
    moved = levels(done).long() - levels(clean).long()  # raises unless 8-bit
    assert moved.abs().max() <= k
    assert 0 <= done.min() <= done.max() <= 1
    wanted = (wild.double() * 255).round().clamp(0, 255).long() - levels(clean).long()
    assert torch.equal(moved, wanted.clamp(-k, k))


@given(
    eps=st.fractions(min_value=Fraction(1, 1000), max_value=40, max_denominator=1000),
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 2**31),
    spread=st.sampled_from([0.0, 1e-4, 1e-3, 0.05, 1.0, 30.0]),
    black_and_white=st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_l2_finish_is_inside_the_ball_and_the_box(eps, shape, seed, spread, black_and_white):
    threat = ThreatModel("l2", eps)
    clean = any_image(shape, seed, black_and_white)
    wild = clean + spread * torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1))
    done = threat.finish(wild[None], clean[None])[0]
    moved = (levels(done).long() - levels(clean).long()).flatten().tolist()
    assert sum(d * d for d in moved) <= (eps * 255) ** 2  # Python integers against a fraction: exact
    assert 0 <= done.min() <= done.max() <= 1


def test_l2_finish_spends_a_budget_that_nearest_rounding_would_erase():
    clean = torch.full((3, 28, 28), 128 / 255)
    threat = ThreatModel("l2", Fraction(1, 20))  # 12.75 grey levels over 2352 values: 0.26 each
    delta = torch.linspace(0.5, 1.0, clean.numel()).reshape(clean.shape)
    wild = clean + delta * (0.05 / delta.norm())
    assert torch.equal((wild * 255).round(), clean * 255)
    done = threat.finish(wild[None], clean[None])[0]
    assert threat.distance(done, clean) == 162  # floor(12.75^2), all of it
    assert torch.equal((done > clean).flatten()[-162:], torch.ones(162, dtype=torch.bool))  # the largest entries


def test_l2_finish_survives_a_budget_just_below_the_perturbation():
    clean = torch.zeros(3, 1, 1)
    eps = Fraction(5, 255) - Fraction(1, 10**12)
    wild = torch.tensor([3.0, 4.0, 0.0]).reshape(3, 1, 1) / 255
    threat = ThreatModel("l2", eps)
    done = threat.finish(wild[None], clean[None])[0]
    assert threat.budget == 24
    assert 0 < threat.distance(done, clean) <= 24


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_image_in_the_ball_is_its_own_finish(norm):
    clean = any_image((3, 28, 28), 0)
    near = to_images((levels(clean) + torch.randint(-2, 3, clean.shape)).clamp(0, 255))
    threat = ThreatModel(norm, Fraction(2, 255) if norm == "linf" else Fraction(2))
    assert torch.equal(threat.finish(near[None], clean[None])[0], near)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_finish_of_one_does_not_depend_on_the_batch(norm):
    threat = ThreatModel(norm, Fraction(8, 255) if norm == "linf" else Fraction(1, 2))
    clean = torch.stack([any_image((3, 28, 28), i) for i in range(7)])
    wild = clean + 0.05 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    together = threat.finish(wild, clean)
    for i in range(7):
        assert torch.equal(threat.finish(wild[i : i + 1], clean[i : i + 1])[0], together[i])
        assert torch.equal(threat.project(wild[i : i + 1], clean[i : i + 1])[0], threat.project(wild, clean)[i])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_start_is_inside_and_seeded(norm):
    threat = ThreatModel(norm, Fraction(8, 255) if norm == "linf" else Fraction(1))
    clean = any_image((3, 28, 28), 0, black_and_white=True)
    start = threat.random_start(clean, 5)
    delta = start - clean
    assert start.min() >= 0
    assert start.max() <= 1
    assert (delta.abs().max() if norm == "linf" else delta.norm()) <= float(threat.eps) * (1 + 1e-5)
    assert torch.equal(start, threat.random_start(clean, 5))
    assert not torch.equal(start, threat.random_start(clean, 6))


def test_direction_has_unit_norm_and_survives_tiny_and_zero_gradients():
    gradient = torch.randn(3, 3, 4, 4)
    gradient[1] *= 1e-30
    gradient[2] = 0
    l2 = ThreatModel("l2", Fraction(1)).direction(gradient)
    assert l2.flatten(1).norm(dim=1).tolist() == pytest.approx([1, 1, 0], abs=1e-5)
    linf = ThreatModel("linf", Fraction(1, 255)).direction(gradient)
    assert torch.equal(linf, gradient.sign())


def test_contains_is_exact_at_the_border():
    clean = torch.zeros(3, 2, 2)
    moved = clean.clone()
    moved[0, 0, 0], moved[1, 0, 0] = 3 / 255, 4 / 255
    assert ThreatModel("l2", Fraction(5, 255)).contains(moved, clean)
    assert not ThreatModel("l2", Fraction(5, 255) - Fraction(1, 10**15)).contains(moved, clean)
    assert ThreatModel("linf", Fraction(4, 255)).contains(moved, clean)
    assert not ThreatModel("linf", Fraction(3, 255)).contains(moved, clean)


def test_the_ball_holds_on_a_png_read_back(tmp_path):
    clean = any_image((3, 28, 28), 3)
    threat = ThreatModel("linf", Fraction(4, 255))
    done = threat.finish((clean + torch.randn(clean.shape))[None], clean[None])[0]
    pixels = (done * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    again = np.asarray(Image.open(tmp_path / "a.png")).astype(int)
    original = levels(clean).permute(1, 2, 0).numpy()
    assert np.abs(again - original).max() == 4


@pytest.mark.parametrize(
    ("norm", "eps"), [("l1", Fraction(1)), ("linf", Fraction(3, 100)), ("linf", Fraction(2)), ("l2", Fraction(-1))]
)
def test_impossible_threats_are_refused(norm, eps):
    with pytest.raises(ValueError, match=r"norm|eps"):
        ThreatModel(norm, eps)


def test_images_that_are_not_8_bit_are_refused():
    with pytest.raises(ValueError, match="8-bit"):
        levels(torch.full((3, 1, 1), 0.5))
