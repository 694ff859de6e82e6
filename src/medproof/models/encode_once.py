"""Encode each distinct image once per pass, however many rows show it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel


@contextmanager
def encode_once(net: PreTrainedModel, grid_thw: torch.Tensor | None, image_rows: Sequence[int]) -> Iterator[None]:
    """Inside, the model gets pixel values of the distinct images and hands row i the features of `image_rows[i]`.

    grid_thw: (distinct, 3). transformers would run its vision tower on one copy per row; this wraps
    `get_image_features` of the inner model, which all Qwen-VL families call.
    """
    if grid_thw is None:
        yield
        return
    original = net.model.get_image_features

    def shared(pixel_values: torch.Tensor, image_grid_thw: torch.Tensor | None = None, **kwargs: Any) -> Any:
        return of_rows(original(pixel_values, grid_thw, **kwargs), image_rows)

    with _replaced(net, shared):
        yield


@contextmanager
def use_features(net: PreTrainedModel, features: Any, image_rows: Sequence[int]) -> Iterator[None]:
    """As `encode_once`, for several passes: `features` is what `get_image_features` gave for the distinct images."""
    with _replaced(net, lambda *_, **__: of_rows(features, image_rows)):
        yield


@contextmanager
def _replaced(net: PreTrainedModel, get_image_features: Callable[..., Any]) -> Iterator[None]:
    inner: Any = net.model
    inner.get_image_features = get_image_features
    try:
        yield
    finally:
        del inner.get_image_features


def of_rows(output: Any, image_rows: Sequence[int]) -> Any:
    """The features of distinct images -> those of each row's image."""
    rows = copy.copy(output)
    rows.pooler_output = tuple(output.pooler_output[i] for i in image_rows)
    if getattr(output, "deepstack_features", None) is not None:
        sizes = [len(features) for features in output.pooler_output]
        rows.deepstack_features = [_level_of_rows(level, sizes, image_rows) for level in output.deepstack_features]
    return rows


def _level_of_rows(level: Any, sizes: list[int], image_rows: Sequence[int]) -> Any:
    """One deepstack level: a tensor per image, or (transformers 5.17) one tensor of all images."""
    if not isinstance(level, torch.Tensor):
        return tuple(level[i] for i in image_rows)
    images = torch.split(level, sizes)
    return torch.cat([images[i] for i in image_rows])
