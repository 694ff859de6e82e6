"""Groups with random completions: several per prompt, of unequal lengths, one token among them."""

from collections.abc import Sequence

import numpy as np
import torch
from rollout_cases import make_prompts

from medproof.models.qwen_vl import QwenVL
from medproof.training.groups import Completion, Group, Images
from medproof.training.prefix_rows import GroupBatch, Layout, collate_groups

SPECIAL = 7
"""Ids below stand for turns and vision in nano's tokenizer and are never written."""


def random_groups(
    model: QwenVL, sizes: Sequence[tuple[int, int]], lengths: Sequence[Sequence[int]], seed: int = 0
) -> list[Group]:
    """One group per size (a size comes again as the same image), with a completion per entry of its lengths."""
    draw = np.random.default_rng(seed)
    groups = []
    for prompt, row in zip(make_prompts(model, sizes), lengths, strict=True):
        ids = [tuple(int(i) for i in draw.integers(SPECIAL, 2000, length)) for length in row]
        groups.append(Group(prompt, tuple(Completion(i, model.chat.decode(i), truncated=False) for i in ids)))
    return groups


def collate(
    model: QwenVL, groups: Sequence[Group], images: Images | None = None, layout: Layout = "shared"
) -> GroupBatch:
    shown = Images.of_prompts([group.prompt for group in groups]) if images is None else images
    return collate_groups(model.chat, model.grid, groups, shown, 0, layout)


def noise(batch_shape: Sequence[int], seed: int = 0) -> torch.Tensor:
    """Weights that give every token's log-probability a part in a scalar of its own."""
    return torch.randn(*batch_shape, generator=torch.Generator().manual_seed(seed))
