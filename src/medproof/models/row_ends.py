"""Hidden states at the ends of rows, without what nobody reads there.

A score reads the text model at a few positions only: those that predict the answer. So the last layer asks, and runs
its MLP, for those alone; the other tokens only give it keys and values. And what all rows have in common before their
first image does not depend on the pixels: it is run once, as one row, without gradient. Both are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from medproof.models.batch import Batch, Row, pad_rows, positions
from medproof.models.encode_once import of_rows, use_features

KeysValues = tuple[Tensor, Tensor]
"""Of one layer: each [B, KV heads, T, d]."""


@dataclass(frozen=True, eq=False)
class Layout:
    """All of a batch but the pixels. Rows are padded right.

    place: (3, B, T) M-RoPE positions. ends: (B, n) columns to be read, n the most of any row; kept: (B, n) bool, which
    of them are meant. common: columns that all rows share before their first image. image: places of the image tokens
    of all rows, counted in the flattened rows behind those columns.
    """

    batch: Batch
    place: Tensor
    ends: Tensor
    kept: Tensor
    common: int
    image: Tensor


def lay_out(
    net: Any,
    image_token_id: int,
    pad_id: int,
    rows: tuple[Row, ...],
    counts: tuple[int, ...],
    sizes: tuple[tuple[int, int, int], ...],
) -> Layout:
    """The layout that reads the last counts[i] tokens of row i. sizes: grid_thw of the distinct images."""
    with torch.inference_mode(False):  # a layout outlives the call it is made in
        batch = pad_rows(rows, image_token_id, pad_id, left=False).to(net.device)
        place = positions(net, batch, torch.tensor(sizes, device=net.device) if sizes else None)
        back = torch.arange(-max(counts), 0, device=net.device)
        ends = (batch.attention_mask.sum(1, keepdim=True) + back).clamp(min=0)
        kept = -back <= torch.tensor(counts, device=net.device)[:, None]
        common = _common_text(batch, int(ends.min()))
        return Layout(batch, place, ends, kept, common, batch.token_types[:, common:].flatten().nonzero()[:, 0])


def _common_text(batch: Batch, limit: int) -> int:
    """Columns, at most `limit`, with which all rows begin and which hold no image token."""
    ids = batch.input_ids[:, :limit]
    equal = (ids == ids[:1]).all(0) & (batch.token_types[:, :limit] == 0).all(0)
    return int(equal.cumprod(0).sum())


def end_states(net: Any, layout: Layout, features: Any) -> Tensor:
    """(tokens read, D) last hidden states, row by row.

    features: what `get_image_features` gave for the distinct images; None without images. Differentiable in them, not
    in the weights of the text model. A text model that does not attend by SDPA to all tokens before (flash attention,
    sliding windows) runs as it is.
    """
    read = _read if _attends_plainly(net) else _read_stock
    return read(net, layout, features)[layout.kept]


def _attends_plainly(net: Any) -> bool:
    config = net.model.language_model.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return config._attn_implementation == "sdpa" and kinds == {"full_attention"}


def _read_stock(net: Any, layout: Layout, features: Any) -> Tensor:
    """(B, n, D) at the columns to be read, by the net's own forward pass."""
    batch = layout.batch
    with use_features(net, features, batch.image_rows):
        output = net.model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=layout.place,
            mm_token_type_ids=batch.token_types,
            pixel_values=None if features is None else torch.empty(0),  # not looked at: the features stand in for them
            use_cache=False,
        )
    return _columns(output.last_hidden_state, layout.ends)


def _read(net: Any, layout: Layout, features: Any) -> Tensor:
    """(B, n, D) at the columns to be read."""
    text, start = net.model.language_model, layout.common
    words = text.embed_tokens(layout.batch.input_ids)
    rotary = Rotary.of(text, words, layout.place)
    past = None
    if start:
        with torch.no_grad():
            past = _run(text, words[:1, :start], rotary.part(slice(1), slice(start)))[1]
    levels = _image_levels(layout.batch, features)
    hidden = words[:, start:]
    if levels:
        hidden = hidden.flatten(0, 1).index_copy(0, layout.image, levels[0].to(hidden.dtype)).view_as(hidden)
    deep = [(layout.image, level) for level in levels[1:]]
    behind = rotary.part(slice(None), slice(start, None))
    return torch.as_tensor(text.norm(_run(text, hidden, behind, past, layout.ends - start, deep)[0]))


def _image_levels(batch: Batch, features: Any) -> list[Tensor]:
    """(image tokens of all rows, D) each: the visual tokens, then Qwen3-VL's features for its first layers."""
    if features is None or not batch.image_rows:
        return []
    rows = of_rows(features, batch.image_rows)
    levels = [rows.pooler_output, *(getattr(rows, "deepstack_features", None) or [])]
    return [level if isinstance(level, Tensor) else torch.cat(level) for level in levels]


def _run(
    text: Any,
    hidden: Tensor,
    rotary: Rotary,
    past: Sequence[KeysValues] | None = None,
    ends: Tensor | None = None,
    deep: Sequence[tuple[Tensor, Tensor]] = (),
) -> tuple[Tensor, list[KeysValues]]:
    """All layers on hidden [B, T, D], the last one for the columns `ends` [B, n] only. The last norm is not run.

    past: keys and values [1, ...] of P tokens before, for each layer. deep: (tokens of all rows, what they are given
    after the layer of that number). Returns the states, [B, n, D] or [B, T, D], and each layer's keys and values.
    """
    before = past[0][0].shape[2] if past else 0
    total = before + hidden.shape[1]
    columns = torch.arange(before, total, device=hidden.device)[None]  # [1, T]
    found: list[KeysValues] = []
    for number, layer in enumerate(text.layers):
        states = layer.input_layernorm(hidden)
        own = _keys_values(layer.self_attn, states, rotary)
        found.append(own if past is None else _behind(past[number], own))
        if ends is not None and layer is text.layers[-1]:
            hidden, states, rotary = _columns(hidden, ends), _columns(states, ends), rotary.columns(ends)
            columns = ends + before
        seen = torch.arange(total, device=hidden.device) <= columns[..., None]  # [B or 1, queries, P + T]
        hidden = hidden + _attended(layer.self_attn, states, rotary, found[-1], seen)
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        if number < min(len(deep), len(text.layers) - 1):  # at the ends of rows there is no image token
            tokens, level = deep[number]
            hidden = hidden.flatten(0, 1).index_add(0, tokens, level.to(hidden.dtype)).view_as(hidden)
    return hidden, found


def _keys_values(attention: Any, states: Tensor, rotary: Rotary) -> KeysValues:
    keys, values = _heads(attention, "k", states), _heads(attention, "v", states)
    return rotary.turn(keys), values


def _behind(past: KeysValues, own: KeysValues) -> KeysValues:
    keys, values = (torch.cat([p.expand(len(o), -1, -1, -1), o], 2) for p, o in zip(past, own))
    return keys, values


def _attended(attention: Any, states: Tensor, rotary: Rotary, memory: KeysValues, seen: Tensor) -> Tensor:
    """states [B, n, D] ask memory; seen: [B or 1, n, keys] bool. The heads of a group stand one below the other."""
    keys, values = memory
    queries = rotary.turn(_heads(attention, "q", states))  # [B, heads, n, d]
    groups = queries.shape[1] // keys.shape[1]
    asked = queries.reshape(len(queries), keys.shape[1], -1, queries.shape[-1])  # [B, KV heads, groups * n, d]
    out = scaled_dot_product_attention(
        asked, keys, values, attn_mask=seen.repeat(1, groups, 1)[:, None], scale=attention.scaling
    )
    return torch.as_tensor(attention.o_proj(out.reshape(queries.shape).transpose(1, 2).flatten(2)))


def _heads(attention: Any, kind: str, states: Tensor) -> Tensor:
    """[B, T, D] -> [B, heads, T, d] by the projection of this kind, and its norm in Qwen3-VL."""
    heads = getattr(attention, f"{kind}_proj")(states).unflatten(-1, (-1, attention.head_dim))
    norm = getattr(attention, f"{kind}_norm", None)
    return torch.as_tensor((heads if norm is None else norm(heads)).transpose(1, 2))


def _columns(states: Tensor, columns: Tensor) -> Tensor:
    """[B, T, D] at [B, n] -> [B, n, D]."""
    return states[torch.arange(len(columns), device=columns.device)[:, None], columns]


class Rotary(NamedTuple):
    """cos, sin [B, 1, T, d]; the first half of the sines is negated."""

    cos: Tensor
    sin: Tensor

    @classmethod
    def of(cls, text: Any, hidden: Tensor, place: Tensor) -> Rotary:
        cos, sin = text.rotary_emb(hidden, place)
        half = sin.shape[-1] // 2
        return cls(cos[:, None], torch.cat([-sin[..., :half], sin[..., half:]], -1)[:, None])

    def part(self, rows: slice, columns: slice) -> Rotary:
        return Rotary(*(t[rows, :, columns] for t in self))

    def columns(self, columns: Tensor) -> Rotary:
        return Rotary(*(_columns(t[:, 0], columns)[:, None] for t in self))

    def turn(self, heads: Tensor) -> Tensor:
        """heads [B, H, T, d] turned by their positions: (a, b) -> (a cos - b sin, b cos + a sin)."""
        return torch.addcmul(heads * self.cos, heads.roll(heads.shape[-1] // 2, -1), self.sin)
