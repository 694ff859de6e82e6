"""Keys and values for decoding G completions of each of P prompts: the prompt's part held once, not G times.

Attention over the two parts is one softmax over both, computed as two products (shared-prefix attention; Juravsky et
al. 2024, arXiv 2402.05099): all G queries of a prompt meet its keys in one matrix product, and the memory read per step
falls by a factor of up to G. Keys and scores are float32 (at least), so that bfloat16 models sample from the
distribution that their training pass sees, not from scores rounded to 8 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface

from medproof.training.rollout.prefill import Prefix

NAME = "shared_prefix"


class GroupCache:
    """Preallocated: P prompts of T tokens, and for each G completions of up to `length` tokens.

    Layer by layer prompt keys and values are [P, KV heads, T, D] and those of the completions [P, KV heads, G, length,
    D]. `slot` (1,) int64 is where the current token of every row goes. `visible`: how many slots attention looks at;
    those behind `slot` are masked, so that it may stay at `length` where shapes must not change.
    """

    def __init__(self, prefix: Prefix, generations: int, length: int) -> None:
        prompts, heads, _, dim = prefix.keys[0].shape
        shape = (prompts, heads, generations, length, dim)
        wide = torch.promote_types(prefix.keys[0].dtype, torch.float32)
        device = prefix.mask.device
        self.prompt_keys = [keys.to(wide) for keys in prefix.keys]
        self.prompt_values = list(prefix.values)
        self.keys = [torch.zeros(shape, dtype=wide, device=device) for _ in prefix.keys]
        self.values = [torch.zeros(shape, dtype=values.dtype, device=device) for values in prefix.values]
        self.prompt_bias = _bias(prefix.mask, wide)[:, None, None]  # [P, 1, 1, T]
        self.slots = torch.arange(length, device=device)
        self.slot = torch.zeros(1, dtype=torch.long, device=device)
        self.visible = length

    @property
    def shape(self) -> tuple[int, int]:
        """(P, G)."""
        return self.keys[0].shape[0], self.keys[0].shape[2]

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Store one token per row, [P * G, KV heads, 1, D]; returns all that `attend` sees, [P, KV heads, G, S, D]."""
        prompts, generations = self.shape
        for store, new in ((self.keys[layer], keys), (self.values[layer], values)):
            rows = new.view(prompts, generations, *new.shape[1:]).transpose(1, 2)  # [P, KV heads, G, 1, D]
            store.index_copy_(3, self.slot, rows.to(store.dtype))
        return self.keys[layer][:, :, :, : self.visible], self.values[layer][:, :, :, : self.visible]

    def own_bias(self) -> torch.Tensor:
        """(visible,) 0 up to the current slot, -inf behind it."""
        return _bias(self.slots[: self.visible] <= self.slot, self.prompt_bias.dtype)

    def select(self, prompts: torch.Tensor, rows: torch.Tensor) -> None:
        """Keep prompts (P',) and of each the completions `rows` (P', G')."""
        for stores in (self.prompt_keys, self.prompt_values):
            stores[:] = [store[prompts] for store in stores]
        for stores in (self.keys, self.values):
            stores[:] = [store[prompts[:, None], :, rows].transpose(1, 2).contiguous() for store in stores]
        self.prompt_bias = self.prompt_bias[prompts]


def attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    group_cache: GroupCache,
    scaling: float,
    **ignored: Any,
) -> tuple[torch.Tensor, None]:
    """query [P * G, heads, 1, D]; key, value as `GroupCache.update` returns them -> ([P * G, 1, heads, D], None)."""
    layer: Any = module.layer_idx
    prompt_key, prompt_value = group_cache.prompt_keys[layer], group_cache.prompt_values[layer]
    prompts, kv_heads, generations, slots, dim = key.shape
    with torch.autocast(query.device.type, enabled=False):
        # [P, KV heads, G, queries per KV head, D]
        q = (query * scaling).to(key.dtype).view(prompts, generations, kv_heads, -1, dim).transpose(1, 2)
        together = q.flatten(2, 3)  # [P, KV heads, G * queries, D]
        to_prompt = together @ prompt_key.transpose(-1, -2) + group_cache.prompt_bias
        to_own = q @ key.transpose(-1, -2) + group_cache.own_bias()
        scores = torch.cat([to_prompt.view(*q.shape[:4], -1), to_own], dim=-1)
        weights = scores.softmax(-1).to(value.dtype)
        of_prompt, of_own = weights[..., :-slots], weights[..., -slots:]
        out = (of_prompt.flatten(2, 3) @ prompt_value).view(q.shape) + of_own @ value
    return out.transpose(1, 2).reshape(query.shape[0], 1, -1, dim).to(query.dtype), None


@contextmanager
def shared_prefix_attention(decoder: Any) -> Iterator[None]:
    """Inside, the layers of the text decoder attend by `attend`."""
    AttentionInterface.register(NAME, attend)
    before = decoder.config._attn_implementation
    decoder.config._attn_implementation = NAME
    try:
        yield
    finally:
        decoder.config._attn_implementation = before


def _bias(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """0 where `seen`, else -inf."""
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, float("-inf"))
