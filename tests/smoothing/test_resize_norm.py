"""The norm of the resize, and what is left of a certificate before it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from medproof.images.preprocess import bicubic_matrix, resize
from medproof.smoothing.resize_norm import resize_norm, source_radius

SIZES = [((40, 30), (28, 56)), ((100, 84), (28, 28)), ((28, 56), (28, 28)), ((20, 20), (56, 84))]


@pytest.mark.parametrize(("source", "grid"), SIZES)
def test_it_is_the_norm_of_the_whole_operator(source: tuple[int, int], grid: tuple[int, int]) -> None:
    """One channel, both axes at once: no image is stretched more, and the worst one is stretched as much."""

    def matrix(axis: int) -> np.ndarray:
        return np.eye(source[axis]) if source[axis] == grid[axis] else bicubic_matrix(source[axis], grid[axis])

    down, across = matrix(0), matrix(1)
    norm = resize_norm(source, grid)
    worst = np.outer(np.linalg.svd(down)[2][0], np.linalg.svd(across)[2][0])
    image = torch.from_numpy(np.stack([worst] * 3))
    assert resize(image, grid, rounding=False).norm() / image.norm() == pytest.approx(norm, rel=1e-6)
    other = torch.from_numpy(np.random.default_rng(0).normal(size=(3, *source)))
    assert resize(other, grid, rounding=False).norm() <= norm * other.norm()


def test_nothing_to_resize() -> None:
    assert resize_norm((28, 56), (28, 56)) == 1
    assert source_radius(0.3, (28, 56), (28, 56)) == 0.3


def test_rounding_leaves_nothing_at_the_usual_sizes() -> None:
    assert source_radius(0.5, (1024, 768), (448, 336)) == 0
    assert source_radius(0.5, (1024, 768), (448, 336), rounding=False) == pytest.approx(0.5 / 0.4414, rel=1e-3)


@pytest.mark.parametrize(("source", "grid"), SIZES)
def test_the_real_resize_keeps_the_promise(source: tuple[int, int], grid: tuple[int, int]) -> None:
    """Through PIL in 8 bit, changes as large as allowed, in the worst direction and in random ones."""

    def rendered(pixels: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(pixels).resize(grid[::-1], Image.Resampling.BICUBIC), float) / 255

    rng = np.random.default_rng(0)
    image = rng.integers(60, 196, (*source, 3), dtype=np.uint8)
    radius = 4.0
    allowed = source_radius(radius, source, grid)
    assert 0 < allowed < source_radius(radius, source, grid, rounding=False)
    for direction in (np.ones((*source, 3)), rng.normal(size=(*source, 3))):
        step = np.trunc(255 * allowed * direction / np.linalg.norm(direction))
        moved = (image + step).clip(0, 255).astype(np.uint8)
        assert np.linalg.norm((moved.astype(float) - image) / 255) <= allowed
        assert 0 < np.linalg.norm(rendered(moved) - rendered(image)) <= radius
