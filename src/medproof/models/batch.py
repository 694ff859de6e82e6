"""Rows of token ids and images as the tensors a Qwen-VL model takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch


class Images(NamedTuple):
    """pixel_values, grid_thw: of the distinct images, None where there is none. image_of: which of them a view has."""

    pixel_values: torch.Tensor | None
    grid_thw: torch.Tensor | None
    image_of: Sequence[int | None]


@dataclass(frozen=True)
class Row:
    """One sequence: its ids, and which of the batch's distinct images it holds (None for no image)."""

    ids: tuple[int, ...]
    image: int | None


@dataclass(frozen=True)
class Batch:
    """input_ids, attention_mask, token_types: (B, T) int64. image_rows: distinct-image index per row with an image."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    token_types: torch.Tensor
    image_rows: tuple[int, ...]

    def to(self, device: torch.device) -> Batch:
        ids, mask, types = (t.to(device) for t in (self.input_ids, self.attention_mask, self.token_types))
        return Batch(ids, mask, types, self.image_rows)


def pad_rows(rows: Sequence[Row], image_token_id: int, pad_id: int, left: bool) -> Batch:
    """Pad right for losses, left for decoding; padding never counts as an image token."""
    width = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        span = slice(width - len(row.ids), width) if left else slice(0, len(row.ids))
        ids[i, span] = torch.tensor(row.ids, dtype=torch.long)
        mask[i, span] = 1
    types = ((ids == image_token_id) & (mask == 1)).long()
    return Batch(ids, mask, types, tuple(row.image for row in rows if row.image is not None))


def positions(net: Any, batch: Batch, grid_thw: torch.Tensor | None) -> torch.Tensor:
    """(3, B, T) M-RoPE positions by the model's own rule; `grid_thw` (distinct images, 3)."""
    if grid_thw is None or not batch.image_rows:
        flat = (batch.attention_mask.cumsum(-1) - 1).clamp(min=0)
        return flat.expand(3, *flat.shape)
    per_row = grid_thw[torch.tensor(batch.image_rows, device=grid_thw.device)]
    ids, _ = net.model.get_rope_index(
        batch.input_ids, batch.token_types, image_grid_thw=per_row, attention_mask=batch.attention_mask
    )
    return torch.as_tensor(ids)
