"""Vision attention batched over images of equal size.

transformers' SDPA path splits the packed sequence and calls attention once per image (or window); with many small
images the calls cost more than the arithmetic. Here the packed rows of equal length become one batched call.
"""

from itertools import groupby
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, PreTrainedModel

# The vision towers hand over packed rows with `cu_seq_lens_q` only to implementations with "flash" in their name.
NAME = "grouped_flash_sdpa"


def grouped_sdpa(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    cu_seq_lens_q: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Full attention inside each packed segment.

    query, key, value: (1, heads, total, head_dim); cu_seq_lens_q: (segments + 1,) cumulative lengths.
    Returns ((1, total, heads, head_dim), None), the layout transformers expects.
    """
    if cu_seq_lens_q is None:
        raise ValueError("grouped_sdpa needs packed vision rows (cu_seq_lens_q)")
    lengths = (cu_seq_lens_q[1:] - cu_seq_lens_q[:-1]).tolist()
    runs = [(length, len(list(run))) for length, run in groupby(lengths)]
    parts = (torch.split(rows[0], [length * count for length, count in runs], 1) for rows in (query, key, value))
    outputs: list[torch.Tensor] = []
    for (length, count), *rows in zip(runs, *parts, strict=True):
        q, k, v = (_segments(part, count, length) for part in rows)
        out = nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scaling)
        outputs.append(out.transpose(1, 2).reshape(1, count * length, *out.shape[1::2]))
    return torch.cat(outputs, dim=1), None


def _segments(rows: torch.Tensor, count: int, length: int) -> torch.Tensor:
    """(heads, count * length, d) -> (count, heads, length, d)."""
    heads, _, dim = rows.shape
    return rows.reshape(heads, count, length, dim).transpose(0, 1)


def use_grouped_vision_attention(net: PreTrainedModel) -> None:
    """Switch the vision tower of a Qwen-VL model to `grouped_sdpa`, unless it runs real flash attention."""
    AttentionInterface.register(NAME, grouped_sdpa)
    for module in net.modules():
        config: Any = getattr(module, "config", None)
        is_vision = hasattr(config, "spatial_merge_size") and hasattr(config, "depth")
        if is_vision and config._attn_implementation in ("sdpa", "eager", None):
            config._attn_implementation = NAME
