"""Sizes, tokens and rendering against the stock processor."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

from medproof.errors import UserError
from medproof.images.grid import Grid

GRIDS = [
    Grid(),
    Grid(max_pixels=12845056),
    Grid(patch_size=16, min_pixels=65536, max_pixels=16777216),
    Grid(patch_size=14, min_pixels=28 * 28, max_pixels=112 * 112),
    Grid(patch_size=8, merge_size=1, min_pixels=64, max_pixels=64 * 64),
]
SIDES = st.integers(1, 3000)


@settings(max_examples=400, deadline=None)
@given(grid=st.sampled_from(GRIDS), height=SIDES, width=SIDES)
def test_size_is_the_stock_smart_resize(grid: Grid, height: int, width: int) -> None:
    try:
        expected = smart_resize(height, width, grid.factor, grid.min_pixels, grid.max_pixels)
    except ValueError:
        with pytest.raises(UserError, match="200 : 1"):
            grid.size(height, width)
        assert not grid.contains(height, width)
        return
    assert grid.size(height, width) == expected


@settings(max_examples=200, deadline=None)
@given(grid=st.sampled_from(GRIDS), height=SIDES, width=SIDES)
def test_fixed_size_is_a_fixed_point_and_size_where_that_is_one(grid: Grid, height: int, width: int) -> None:
    if max(height, width) > 200 * min(height, width):
        return
    h, w = grid.fixed_size(height, width)
    assert smart_resize(h, w, grid.factor, grid.min_pixels, grid.max_pixels) == (h, w)
    assert grid.contains(h, w)
    once = grid.size(height, width)
    if grid.contains(*once):
        assert (h, w) == once


def test_a_long_image_on_a_small_grid_needs_the_stock_rule_more_than_once() -> None:
    grid = Grid(min_pixels=3136, max_pixels=112 * 112)
    assert not grid.contains(*grid.size(10, 1900))
    assert grid.contains(*grid.fixed_size(10, 1900))


def test_a_grid_without_stable_sizes_says_so() -> None:
    with pytest.raises(UserError, match="widen that range"):
        Grid(min_pixels=12544, max_pixels=12544).fixed_size(112, 150)


def test_render_is_the_stock_resize_and_then_changes_nothing(gradient: np.ndarray) -> None:
    grid = Grid()
    rendered = grid.render(gradient)
    assert rendered.shape[:2] == grid.size(*gradient.shape[:2])
    expected = np.array(Image.fromarray(gradient).resize(rendered.shape[1::-1], Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(rendered, expected)
    again = grid.render(rendered)
    np.testing.assert_array_equal(again, rendered)
    assert not np.shares_memory(again, rendered)


def test_tokens_counts_merged_cells() -> None:
    assert Grid().tokens(112, 84) == 4 * 3
    assert Grid(patch_size=16, min_pixels=1024, max_pixels=10**6).tokens(100, 70) == 3 * 2


def test_empty_and_long_images_are_refused() -> None:
    with pytest.raises(UserError, match="nothing to show"):
        Grid().size(0, 5)
    with pytest.raises(UserError, match="crop it"):
        Grid().size(1, 201)


def test_json_round_trip() -> None:
    for grid in GRIDS:
        assert Grid(**{k: tuple(v) if isinstance(v, list) else v for k, v in grid.to_json().items()}) == grid
        assert Grid.from_processor_config(grid.to_json()) == grid


def test_processor_configs_of_three_families() -> None:
    qwen2 = {"min_pixels": 3136, "max_pixels": 12845056, "size": {"max_pixels": 1, "min_pixels": 1}, "patch_size": 14}
    assert Grid.from_processor_config(qwen2) == Grid(max_pixels=12845056)
    qwen3 = {
        "size": {"longest_edge": 16777216, "shortest_edge": 65536},
        "patch_size": 16,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    half = (0.5, 0.5, 0.5)
    assert Grid.from_processor_config(qwen3) == Grid(16, 2, 2, 65536, 16777216, half, half)
    assert Grid.from_processor_config(Qwen2VLImageProcessorPil().to_dict()) == Grid()
    assert Grid.from_processor_config({}) == Grid()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"do_normalize": False}, "do_normalize off"),
        ({"rescale_factor": 1.0}, "rescales by 1.0"),
        ({"resample": 2}, "filter 2"),
        ({"image_mean": [0.5]}, "not of the Qwen-VL family"),
        ({"min_pixels": 10**7}, "below min_pixels"),
    ],
)
def test_other_processors_are_refused(config: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Grid.from_processor_config(config)
