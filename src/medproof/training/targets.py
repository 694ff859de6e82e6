"""Supervised targets: which tokens are learnt and how much each weighs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from medproof.errors import UserError
from medproof.images.grid import Grid
from medproof.images.preprocess import patchify, to_float
from medproof.models.batch import Batch, Row, pad_rows
from medproof.models.chat import Chat
from medproof.models.prompts import REFUSAL, answer_prefix, target_text
from medproof.training.examples import Example

IGNORE = -100


@dataclass(frozen=True)
class Target:
    """prompt: ids the model is given; reply: ids it must write, end of turn included; weights: one per reply id."""

    prompt: tuple[int, ...]
    reply: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class TargetBatch:
    """Right-padded rows. labels, weights: (B, T), aligned with input_ids (not shifted), IGNORE and 0 off target."""

    batch: Batch
    pixel_values: torch.Tensor
    grid_thw: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor

    def to(self, device: torch.device) -> TargetBatch:
        moved = (t.to(device) for t in (self.pixel_values, self.grid_thw, self.labels, self.weights))
        return TargetBatch(self.batch.to(device), *moved)


def make_target(chat: Chat, grid: Grid, example: Example, answer_weight: float) -> Target:
    """Tokens of the prompt carry no loss; the answer weighs `answer_weight`, every other reply token 1.

    The answer is the letter, or all tokens of a refusal. Raises UserError where the tokenizer begins a refusal as it
    writes a letter.
    """
    item, empty = example.item, example.empty
    text = target_text(item, example.mode, empty)
    slot = chat.answer_slot(item.letters, answer_prefix(text))
    reply = chat.text_ids(text) + chat.end_ids()
    place = len(slot.context)
    if empty and reply[place] in slot.letters:
        raise UserError(f"data.no_evidence: the tokenizer of {chat.name} begins a refusal as it writes a letter")
    if reply[:place] != slot.context or not (empty or reply[place] == slot.letters[item.answer_index]):
        raise ValueError(f"item {item.id}: the answer letter is not where the tokenizer of {chat.name} would write it")
    words = len(chat.continuation(answer_prefix(text), REFUSAL)[1]) if empty else 1
    weights = tuple(answer_weight if place <= i < place + words else 1.0 for i in range(len(reply)))
    return Target(chat.prompt_ids(example.asked, grid.tokens(*example.image.shape[:2])), reply, weights)


def collate(chat: Chat, grid: Grid, examples: Sequence[Example], answer_weight: float, pad_id: int) -> TargetBatch:
    """Rows in the order of `examples`; every row has its own image."""
    targets = [make_target(chat, grid, example, answer_weight) for example in examples]
    rows = [Row(t.prompt + t.reply, i) for i, t in enumerate(targets)]
    batch = pad_rows(rows, chat.image_token_id, pad_id, left=False)
    labels = torch.full_like(batch.input_ids, IGNORE)
    weights = torch.zeros(batch.input_ids.shape)
    for i, target in enumerate(targets):
        span = slice(len(target.prompt), len(target.prompt) + len(target.reply))
        labels[i, span] = torch.tensor(target.reply)
        weights[i, span] = torch.tensor(target.weights)
    pixel_values, grid_thw = patchify([to_float(e.image) if e.shown is None else e.shown for e in examples], grid)
    return TargetBatch(batch, pixel_values, grid_thw, labels, weights)
