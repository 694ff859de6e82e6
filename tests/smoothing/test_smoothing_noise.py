"""Every draw is a function of its key and number; the noise is the noise it says it is."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from medproof.smoothing.noise import noise_key, noisy_copies, standard_normal

SHAPE = (3, 4, 5)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**40), st.integers(1, 6), st.integers(0, 6))
def test_any_shard_of_the_draws_is_the_same(key: int, first: int, count: int, skip: int) -> None:
    whole = standard_normal(key, first, skip + count, SHAPE)
    assert np.array_equal(whole[skip:], standard_normal(key, first + skip, count, SHAPE))


def test_golden_values() -> None:
    """A change of generator or of its use would orphan every logged vote."""
    found = standard_normal(7, 3, 1, (4,))[0]
    np.testing.assert_allclose(found, [-0.265809745, 0.349522233, -0.165790081, 1.45393324], rtol=1e-6)


def test_draws_and_keys_differ_and_are_uncorrelated() -> None:
    draws = standard_normal(1, 0, 64, (2000,)).astype(np.float64)
    others = standard_normal(2, 0, 64, (2000,)).astype(np.float64)
    for a, b in ((draws[:-1], draws[1:]), (draws, others)):
        assert abs((a * b).mean()) < 5 / np.sqrt(a.size)


def test_the_noise_is_standard_normal() -> None:
    draws = standard_normal(5, 0, 50, (4000,))
    assert draws.dtype == np.float32
    assert stats.kstest(draws.ravel(), "norm").pvalue > 0.001


def test_copies_are_the_image_plus_noise_unclamped() -> None:
    image, normal = torch.ones(3, 4, 5), torch.from_numpy(standard_normal(0, 0, 8, SHAPE))
    copies = noisy_copies(image, 0.25, normal)
    torch.testing.assert_close(copies, 1 + 0.25 * normal)
    assert copies.max() > 1.2


def test_rounding_brings_copies_to_the_grid_and_clips_nothing() -> None:
    normal = torch.from_numpy(standard_normal(0, 0, 8, SHAPE))
    copies, exact = (noisy_copies(torch.zeros(3, 4, 5), 0.5, normal, rounded=flag) for flag in (True, False))
    levels = copies.double() * 255
    assert float((levels - levels.round()).abs().max()) < 1e-4
    assert float((copies - exact).abs().max()) <= 0.5 / 255 + 1e-6
    assert levels.min() < -100


@pytest.mark.parametrize("changed", [(1, "a", 0.25), (0, "b", 0.25), (0, "a", 0.5)])
def test_a_key_is_of_seed_image_and_sigma(changed: tuple[int, str, float]) -> None:
    assert noise_key(0, "a", 0.25) == noise_key(0, "a", 0.25) != noise_key(*changed)
