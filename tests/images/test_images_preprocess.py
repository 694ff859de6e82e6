"""Preprocessing against the stock PIL processor and against finite differences.

`equality_figures` measures how equal; run this file as a script to print the figures.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from medproof.images.grid import Grid
from medproof.images.preprocess import patchify, preprocess, resize, to_float, to_uint8

HALF = [0.5, 0.5, 0.5]
FAMILIES = {
    "Qwen2-VL": {"min_pixels": 3136, "max_pixels": 12845056},
    "Qwen2.5-VL": {},
    "Qwen3-VL": {
        "patch_size": 16,
        "image_mean": HALF,
        "image_std": HALF,
        "size": {"shortest_edge": 65536, "longest_edge": 16777216},
    },
}


@dataclass
class Figures:
    """How far apart two preprocessings are, over many images."""

    images: int = 0
    float_difference: float = 0.0
    values: int = 0
    differing: int = 0
    grey_levels: int = 0

    @property
    def differing_share(self) -> float:
        return self.differing / max(self.values, 1)


def picture(height: int, width: int, kind: int, seed: int) -> np.ndarray:
    """Uniform noise, black-and-white noise (the hardest for rounding), or a smooth picture."""
    rng = np.random.default_rng(seed)
    if kind == 0:
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == 1:
        return (rng.integers(0, 2, (height, width, 3)) * 255).astype(np.uint8)
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / a) + np.cos(columns / b) for a, b in ((7, 11), (23, 5), (3, 41))]
    return (np.stack(waves, axis=2) * 63 + 128).astype(np.uint8)


def compare(family: str, sizes: list[tuple[int, int]], on_grid: bool) -> Figures:
    """Ours against the stock processor, on images of these sizes, rendered to the grid first or not."""
    stock = Qwen2VLImageProcessorPil(**FAMILIES[family])
    grid = Grid.from_processor_config(stock.to_dict())
    figures = Figures()
    for index, (height, width) in enumerate(sizes):
        pixels = picture(height, width, kind=index % 3, seed=index)
        pixels = grid.render(pixels) if on_grid else pixels
        expected = stock(images=[Image.fromarray(pixels)], return_tensors="pt")
        values, grid_thw = preprocess([to_float(pixels)], grid)
        assert torch.equal(grid_thw, expected["image_grid_thw"])
        assert values.dtype == expected["pixel_values"].dtype
        difference = float((values - expected["pixel_values"]).abs().max())
        rendered = grid.render(pixels)
        levels = np.abs(to_uint8(resize(to_float(pixels), rendered.shape[:2])).astype(int) - rendered)
        figures.images += 1
        figures.float_difference = max(figures.float_difference, difference)
        figures.values += levels.size
        figures.differing += int((levels > 0).sum())
        figures.grey_levels = max(figures.grey_levels, int(levels.max()))
    return figures


def equality_figures(images: int = 120, largest: int = 900) -> dict[str, dict[str, Figures]]:
    """Per family: on the grid, and where it must resize. Random sizes, shrinking and enlarging."""
    rng = np.random.default_rng(0)
    sizes = [(int(h), int(w)) for h, w in rng.integers(20, largest, (images, 2))]
    return {
        family: {"on grid": compare(family, sizes, True), "resized": compare(family, sizes, False)}
        for family in FAMILIES
    }


SOME_SIZES = [(28, 28), (60, 200), (200, 60), (500, 41), (37, 53), (300, 300), (257, 512), (41, 700), (350, 120)]


@pytest.mark.parametrize("family", FAMILIES)
def test_on_grid_images_equal_the_stock_processor_bit_for_bit(family: str) -> None:
    figures = compare(family, SOME_SIZES, on_grid=True)
    assert figures.images == len(SOME_SIZES)
    assert figures.float_difference == 0.0


@pytest.mark.parametrize("family", FAMILIES)
def test_resized_images_equal_the_stock_processor(family: str) -> None:
    figures = compare(family, SOME_SIZES, on_grid=False)
    assert figures.grey_levels <= 1
    assert figures.differing_share <= 0.005
    assert figures.float_difference <= figures.grey_levels / 255 / min(Grid().image_std) * 1.001


def test_every_grey_level_survives_bit_for_bit() -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3 * 4).reshape(32, 32, 3)
    stock = Qwen2VLImageProcessorPil(patch_size=16, min_pixels=256, max_pixels=1024)
    expected = stock(images=[Image.fromarray(levels)], return_tensors="pt")["pixel_values"]
    values, _ = patchify([to_float(levels)], Grid.from_processor_config(stock.to_dict()))
    assert torch.equal(values, expected)


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    out=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    kind=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_resize_is_pils_bicubic(size: tuple[int, int], out: tuple[int, int], kind: int, seed: int) -> None:
    pixels = picture(*size, kind, seed)
    expected = np.array(Image.fromarray(pixels).resize((out[1], out[0]), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(to_uint8(resize(to_float(pixels), out)), expected)


def test_8_bit_and_float_are_inverses() -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    image = to_float(pixels)
    assert image.shape == (3, 16, 16)
    assert float(image.min()) == 0.0
    assert float(image.max()) == 1.0
    np.testing.assert_array_equal(to_uint8(image), pixels)
    assert torch.equal(to_float(to_uint8(image)), image)
    assert to_uint8(torch.tensor([-0.3, 0.5, 1.7]).reshape(3, 1, 1)).tolist() == [[[0, 128, 255]]]


def test_both_temporal_copies_are_the_same_pixels() -> None:
    grid = Grid(temporal_patch_size=2)
    image = torch.rand(3, 56, 84, requires_grad=True)
    values, grid_thw = patchify([image], grid)
    assert grid_thw.tolist() == [[1, 4, 6]]
    first, second = values.reshape(-1, 3, 2, 14, 14).unbind(2)
    assert torch.equal(first, second)
    values.reshape(-1, 3, 2, 14, 14)[:, :, 1].sum().backward()
    assert image.grad is not None
    std = torch.tensor(grid.image_std)[:, None, None]
    torch.testing.assert_close(image.grad, (1 / std).expand(3, 56, 84))


def test_patches_stand_in_the_order_of_the_merger() -> None:
    """With mean 0 and std 1, patch r of cell (i, j) holds the pixels of that place."""
    grid = Grid(image_mean=(0.0, 0.0, 0.0), image_std=(1.0, 1.0, 1.0))
    image = torch.arange(3 * 56 * 84, dtype=torch.float64).reshape(3, 56, 84)
    values, _ = patchify([image], grid)
    row = ((1 * 3 + 2) * 2 + 1) * 2 + 0  # cell row 1, cell column 2, lower left patch of the cell
    expected = image[:, 42:56, 56:70]
    assert torch.equal(values[row].reshape(3, 2, 14, 14)[:, 0], expected)


def test_unequal_images_are_concatenated_in_order() -> None:
    grid = Grid()
    images = [torch.rand(3, 56, 56), torch.rand(3, 84, 112)]
    values, grid_thw = patchify(images, grid)
    assert grid_thw.tolist() == [[1, 4, 4], [1, 6, 8]]
    assert torch.equal(values[:16], patchify(images[:1], grid)[0])
    assert torch.equal(values[16:], patchify(images[1:], grid)[0])


def test_gradient_of_resize_and_patchify_against_finite_differences() -> None:
    """Rounding off: what is left is linear, so central differences are exact up to float64."""
    grid = Grid(patch_size=4, min_pixels=64, max_pixels=256)
    generator = torch.Generator().manual_seed(0)

    def loss(image: torch.Tensor) -> torch.Tensor:
        values, _ = patchify([resize(image, (16, 8), rounding=False)], grid)
        return (
            (values * torch.sin(torch.arange(values.numel(), dtype=torch.float64)).reshape(values.shape)).pow(2).sum()
        )

    image = torch.rand(3, 11, 13, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (image,), eps=1e-6, atol=1e-7, rtol=1e-6)


def test_gradient_passes_straight_through_rounding_and_clamping() -> None:
    """With rounding the gradient is that of the linear map, also where values are clamped."""
    pixels = to_float(picture(40, 60, 1, 0)).double()
    weights = torch.rand(3, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradients = []
    for rounding in (True, False):
        image = pixels.clone().requires_grad_()
        (resize(image, (28, 28), rounding=rounding) * weights).sum().backward()
        assert image.grad is not None
        gradients.append(image.grad)
    torch.testing.assert_close(gradients[0], gradients[1])
    assert float(gradients[0].abs().max()) > 0


def test_on_grid_preprocess_is_affine() -> None:
    grid = Grid()
    a, b = (torch.rand(3, 56, 56, dtype=torch.float64) for _ in range(2))
    middle = preprocess([(a + b) / 2], grid)[0]
    torch.testing.assert_close(middle, (preprocess([a], grid)[0] + preprocess([b], grid)[0]) / 2)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="not on the grid"):
        patchify([torch.rand(3, 57, 56)], Grid())
    with pytest.raises(ValueError, match="at least one"):
        patchify([], Grid())
    with pytest.raises(ValueError, match="floating-point"):
        patchify([torch.zeros(3, 56, 56, dtype=torch.uint8)], Grid())
    with pytest.raises(ValueError, match="uint8"):
        to_float(np.zeros((4, 4, 3)))


if __name__ == "__main__":
    for family_name, results in equality_figures().items():
        for case, figure in results.items():
            print(
                f"{family_name:10} {case:8} {figure.images} images: float difference {figure.float_difference:g},",
                end=" ",
            )
            print(f"{figure.differing} of {figure.values} values differ, by {figure.grey_levels} levels at most")
