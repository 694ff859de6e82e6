"""Seeded sampling: one uniform number per token, turned into a token by the inverse of the distribution function.

Each row draws from its own generator and the distribution function is summed in integers, so that a draw depends on the
row's logits and seed alone: not on the batch, its size or its order, nor on how a device orders its sums.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import LogitsProcessor

# The likeliest token weighs 2**44: a vocabulary of up to 2**18 tokens sums without overflow in 63 bits, and a token is
# lost only where it is 10**13 times less likely than the likeliest.
_SCALE = float(1 << 44)


def uniforms(seeds: Sequence[int], length: int) -> torch.Tensor:
    """(rows, length) float64 in [0, 1). A row depends on its seed only; a longer row begins as a shorter one."""
    return torch.from_numpy(np.stack([np.random.Generator(np.random.PCG64(seed)).random(length) for seed in seeds]))


def draw(
    logits: torch.Tensor, uniform: torch.Tensor, temperature: float, top_p: float = 1.0, top_k: int = 0
) -> torch.Tensor:
    """(B, V) logits and (B,) uniform numbers -> (B,) token ids.

    In this order, as in transformers and TRL: temperature (0: the likeliest token), `top_k` likeliest tokens (0: all),
    smallest set of tokens that reaches `top_p`. Equally likely tokens are kept or dropped together. A logit of -inf is
    never drawn.
    """
    logits = logits.float()
    if temperature == 0:
        return logits.argmax(-1)
    top = logits.amax(-1, keepdim=True)
    weights = (((logits - top) / temperature).exp() * _SCALE).long()  # [B, V], exact: the scale is a power of 2
    if 0 < top_k < weights.shape[-1]:
        weights = weights.masked_fill(weights < weights.topk(top_k).values[:, -1:], 0)
    if top_p < 1:
        weights = weights.masked_fill(weights < _least_kept(weights, top_p), 0)
    reached = weights.cumsum(-1)
    total = reached[:, -1:]
    target = (uniform[:, None] * total).long().minimum(total - 1)
    token = torch.searchsorted(reached, target, right=True).squeeze(-1)
    return token.clamp(max=logits.shape[-1] - 1)  # logits that are not finite must not become an index out of range


def _least_kept(weights: torch.Tensor, top_p: float) -> torch.Tensor:
    """(B, V) -> (B, 1): weight of the last token, from the heaviest down, that is needed to reach `top_p`."""
    ordered = weights.sort(dim=-1, descending=True).values
    reached = ordered.cumsum(-1)
    needed = reached - ordered < top_p * reached[:, -1:].double()
    return ordered.masked_fill(~needed, torch.iinfo(torch.int64).max).amin(-1, keepdim=True)


class SeededSampler(LogitsProcessor):  # type: ignore[misc]
    """`draw` for `generate` of transformers: the token drawn is the only one left, so that greedy decoding takes it."""

    def __init__(self, seeds: Sequence[int], length: int, temperature: float, top_p: float) -> None:
        self._uniforms = uniforms(seeds, length)
        self._temperature = temperature
        self._top_p = top_p
        self._step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """scores (B, V) -> (B, V)."""
        uniform = self._uniforms[:, self._step].to(scores.device)
        self._step += 1
        token = draw(scores, uniform, self._temperature, self._top_p)
        return torch.full_like(scores, float("-inf")).scatter(-1, token[:, None], 0.0)
