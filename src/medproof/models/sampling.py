"""Sampling that does not depend on the batch: every row draws from its own seeded generator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import LogitsProcessor


class SeededSampler(LogitsProcessor):  # type: ignore[misc]
    """Gumbel-max: argmax(log p / T + g) with g ~ Gumbel(0, 1) is a draw from the tempered distribution.

    Greedy decoding over the returned scores is then sampling, one generator per row.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, top_p: float) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.temperature = temperature
        self.top_p = top_p

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """scores (B, V) -> (B, V)."""
        scores = scores.float() / self.temperature
        if self.top_p < 1:
            scores = keep_top_p(scores, self.top_p)
        noise = [torch.empty(scores.shape[1], dtype=torch.float64).exponential_(generator=g) for g in self.generators]
        gumbel = -torch.stack(noise).log()
        return scores + gumbel.to(scores)


def keep_top_p(scores: torch.Tensor, top_p: float) -> torch.Tensor:
    """Keep the smallest set of tokens whose probability reaches `top_p` (at least one); the rest become -inf."""
    ordered, index = scores.sort(dim=-1, descending=True)
    probability = ordered.softmax(-1)
    drop = probability.cumsum(-1) - probability >= top_p
    return scores.masked_fill(torch.zeros_like(drop).scatter(-1, index, drop), float("-inf"))
