"""The prompt's part of a rollout: each image encoded once, each prompt read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from medproof.images.grid import Grid
from medproof.images.preprocess import patchify
from medproof.models.batch import Row, pad_rows, positions
from medproof.models.encode_once import use_features
from medproof.training.groups import Images, Prompt


@dataclass(frozen=True, eq=False)
class Encoded:
    """Features of the distinct images, as the model's own `get_image_features` gives them."""

    features: Any
    pixel_values: torch.Tensor
    grid_thw: torch.Tensor


@dataclass(frozen=True, eq=False)
class Prefix:
    """What P prompts, left-padded to T tokens, leave behind for decoding.

    keys, values: per layer [P, KV heads, T, head dim]. mask [P, T] bool, False on padding. logits [P, V] of the first
    token of the reply; position [P] its M-RoPE position, equal in all three axes.
    """

    keys: tuple[torch.Tensor, ...]
    values: tuple[torch.Tensor, ...]
    mask: torch.Tensor
    logits: torch.Tensor
    position: torch.Tensor


def encode(net: Any, images: Images, grid: Grid) -> Encoded:
    """One pass of the vision tower over the distinct images."""
    pixel_values, grid_thw = patchify(images.to(net.device).pixels, grid)
    return Encoded(net.model.get_image_features(pixel_values, grid_thw, return_dict=True), pixel_values, grid_thw)


def prefill(
    net: Any, encoded: Encoded, prompts: Sequence[Prompt], image_of: Sequence[int], image_token_id: int, pad_id: int
) -> Prefix:
    """One forward pass with one row per prompt; the head runs on the last position only."""
    rows = [Row(prompt.ids, image) for prompt, image in zip(prompts, image_of, strict=True)]
    batch = pad_rows(rows, image_token_id, pad_id, left=True).to(net.device)
    place = positions(net, batch, encoded.grid_thw)
    cache = DynamicCache()
    with use_features(net, encoded.features, batch.image_rows):
        hidden = net.model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=place,
            mm_token_type_ids=batch.token_types,
            pixel_values=encoded.pixel_values,
            image_grid_thw=encoded.grid_thw[list(batch.image_rows)],
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
    return Prefix(
        keys=tuple(layer.keys for layer in cache.layers),
        values=tuple(layer.values for layer in cache.layers),
        mask=batch.attention_mask.bool(),
        logits=net.lm_head(hidden[:, -1]),
        position=place.amax(dim=(0, 2)) + 1,
    )
