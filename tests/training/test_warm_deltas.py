"""Kept perturbations: exact, inside the ball of the new image, saved and loaded."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medproof.attacks.threat import ThreatModel
from medproof.training.warm_deltas import WarmDeltas, as_delta


def image(seed: int, size: tuple[int, int] = (4, 6)) -> torch.Tensor:
    return torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(seed)).float() / 255


@given(st.sampled_from(["linf", "l2"]), st.integers(0, 60), st.integers(0, 50))
def test_a_start_is_in_ball_and_box_of_another_image(norm: str, k: int, seed: int) -> None:
    threat = ThreatModel(norm, Fraction(k, 255))
    warm = WarmDeltas()
    warm.update(["a"], [as_delta(image(seed), image(seed + 1))])  # far outside of most balls
    clean = image(seed + 2)
    start = warm.start("a", clean, threat)
    assert start is not None
    assert float(start.min()) >= 0
    assert float(start.max()) <= 1
    moved = start - clean
    length = float(moved.abs().max() if norm == "linf" else moved.norm())
    assert length <= float(threat.eps) + 1e-6


def test_on_the_same_image_it_goes_on_exactly() -> None:
    threat = ThreatModel("linf", Fraction(255, 255))
    warm, clean, attacked = WarmDeltas(), image(0), image(1)
    warm.update(["a"], [as_delta(attacked, clean)])
    start = warm.start("a", clean, threat)
    assert start is not None
    assert float((start - attacked).abs().max()) < 1e-6


def test_unknown_items_and_other_sizes_have_none() -> None:
    threat, warm = ThreatModel("linf", Fraction(8, 255)), WarmDeltas()
    warm.update(["a"], [as_delta(image(0), image(1))])
    assert warm.start("b", image(0), threat) is None
    assert warm.start("a", image(0, (6, 4)), threat) is None


@pytest.mark.parametrize(("levels", "dtype"), [(127, torch.int8), (128, torch.int16)])
def test_saved_and_loaded_they_are_the_same(tmp_path: Path, levels: int, dtype: torch.dtype) -> None:
    clean = torch.zeros(3, 2, 2)
    warm, threat = WarmDeltas(), ThreatModel("linf", Fraction(1))
    delta = as_delta(clean + levels / 255, clean)
    assert delta.dtype == dtype
    warm.update(["ct-1/anatomy", "ct-1/anatomy"], [torch.zeros_like(delta), delta])  # the last one counts
    warm.save(tmp_path)
    other = WarmDeltas()
    other.load(tmp_path)
    start = other.start("ct-1/anatomy", clean, threat)
    assert start is not None
    assert torch.equal(start, warm.start("ct-1/anatomy", clean, threat))
    assert float(start.max()) == pytest.approx(levels / 255)
