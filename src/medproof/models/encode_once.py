"""Encode each distinct image once per pass, however many rows show it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    inner: Any = net.model
    original = inner.get_image_features

    def shared(pixel_values: torch.Tensor, image_grid_thw: torch.Tensor | None = None, **kwargs: Any) -> Any:
        output = original(pixel_values, grid_thw, **kwargs)
        output.pooler_output = tuple(output.pooler_output[i] for i in image_rows)
        if getattr(output, "deepstack_features", None) is not None:
            output.deepstack_features = [tuple(level[i] for i in image_rows) for level in output.deepstack_features]
        return output

    inner.get_image_features = shared
    try:
        yield
    finally:
        del inner.get_image_features
