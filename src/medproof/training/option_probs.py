"""The columns `option_probs` and `option_probs_blank` of rewards: how likely the model finds each option."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch

from medproof.images.grid import Grid
from medproof.models.chat import Chat
from medproof.models.prompts import answer_prefix
from medproof.models.special_ids import pad_id
from medproof.training.groups import Completion, Group, Images
from medproof.training.logprobs import completion_states
from medproof.training.prefix_rows import collate_groups
from medproof.training.rollout.weights import bare

_AT_ONCE = 16  # groups


def answer_columns(
    needs: Collection[str], net: Any, chat: Chat, grid: Grid, groups: Sequence[Group]
) -> dict[str, list[list[float]]]:
    """The columns in `needs` (see `rewards.columns`), one entry per completion; nothing is computed without need."""
    found: dict[str, list[list[float]]] = {name: [] for name in needs}
    for name, column in found.items():
        for start in range(0, len(groups), _AT_ONCE):
            part = groups[start : start + _AT_ONCE]
            images = Images.of_prompts([group.prompt for group in part])
            shown = images.blank() if name == "option_probs_blank" else images
            column += option_probs(net, chat, grid, part, shown)
    return found


@torch.no_grad()
def option_probs(net: Any, chat: Chat, grid: Grid, groups: Sequence[Group], images: Images) -> list[list[float]]:
    """Per completion the probabilities of its item's K letters at its answer slot, normalised over them.

    One forward pass without gradient in which the completions of a group share the prompt; equal texts up to the slot
    are read once.
    """
    net = bare(net)
    slots = [
        [chat.answer_slot(group.prompt.item.letters, answer_prefix(c.text)) for c in group.completions]
        for group in groups
    ]
    distinct = [list(dict.fromkeys(row)) for row in slots]
    count = max(len(row) for row in distinct)
    # Every group of a batch has the same number of completions: the last one is repeated.
    asked = [row + [row[-1]] * (count - len(row)) for row in distinct]
    probes = [
        Group(group.prompt, tuple(Completion((*slot.context, slot.letters[0]), "", False) for slot in row))
        for group, row in zip(groups, asked, strict=True)
    ]
    batch = collate_groups(chat, grid, probes, images, pad_id(chat.tokenizer)).to(net.device)
    ends = batch.mask.sum(-1).flatten().cumsum(0) - 1  # of each probe the place of its last token among all N
    logits = net.lm_head(completion_states(net, batch)[ends]).float().view(len(groups), count, -1).cpu()
    probabilities = [
        {slot: logits[b, u, list(slot.letters)].softmax(-1).tolist() for u, slot in enumerate(row)}
        for b, row in enumerate(distinct)
    ]
    return [probabilities[b][slot] for b, row in enumerate(slots) for slot in row]
