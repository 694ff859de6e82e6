"""Many float copies of few images, each shown with few prompts: what votes of a smoothed model need, fast.

A copy's visual tokens are made once and shared by all questions on the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medproof.images.grid import Grid
from medproof.images.preprocess import patchify_copies
from medproof.models.batch import Batch, Row
from medproof.models.chat import Chat
from medproof.models.prompts import ANSWER_OPEN
from medproof.models.row_ends import Layout, end_states, lay_out
from medproof.models.special_ids import pad_id
from medproof.records import View


@dataclass(frozen=True)
class _Unit:
    """One question on the copies `first` to `first + count - 1` of a pass; `place`: (image, question)."""

    place: tuple[int, int]
    ids: tuple[int, ...]
    letters: tuple[int, ...]
    first: int
    count: int


def letter_logits(
    net: Any, chat: Chat, grid: Grid, copies: Sequence[Tensor], views: Sequence[Sequence[View]], rows: int
) -> list[list[Tensor]]:
    """See `protocol.CopyVoter.copy_letters`."""
    patches, sizes = zip(*(patchify_copies(image, grid) for image in copies), strict=True)
    pixel_values, grid_thw = torch.cat(patches), torch.cat(sizes).to(net.device)
    features = net.model.get_image_features(pixel_values, grid_thw, return_dict=True)
    result: list[list[Tensor]] = [[torch.empty(0)] * len(asked) for asked in views]
    shapes = tuple(map(tuple, grid_thw.tolist()))
    for units in _packed(_units(chat, grid, copies, views), rows):
        shown = tuple(Row(unit.ids, unit.first) for unit in units)
        layout = lay_out(net, chat.image_token_id, pad_id(chat.tokenizer), shown, (1,) * len(shown), shapes)
        logits = net.lm_head(end_states(net, _repeated(layout, units), features))  # [rows, V]
        for unit, part in zip(units, torch.split(logits, [unit.count for unit in units]), strict=True):
            image, question = unit.place
            result[image][question] = part[:, list(unit.letters)].float()
    return result


def _units(chat: Chat, grid: Grid, copies: Sequence[Tensor], views: Sequence[Sequence[View]]) -> Iterator[_Unit]:
    first = 0
    for image, (several, asked) in enumerate(zip(copies, views, strict=True)):
        tokens = grid.tokens(*several.shape[-2:])
        for question, view in enumerate(asked):
            slot = chat.answer_slot(view.item.letters, ANSWER_OPEN)
            ids = chat.prompt_ids(view.messages, tokens) + slot.context
            yield _Unit((image, question), ids, slot.letters, first, len(several))
        first += len(several)


def _packed(units: Iterator[_Unit], rows: int) -> Iterator[list[_Unit]]:
    """As many units in a row as hold `rows` rows, at least one."""
    pack: list[_Unit] = []
    for unit in units:
        if pack and sum(u.count for u in pack) + unit.count > rows:
            yield pack
            pack = []
        pack.append(unit)
    if pack:
        yield pack


def _repeated(layout: Layout, units: Sequence[_Unit]) -> Layout:
    """The layout of one row per unit -> that of one row per copy, each with its own image."""
    batch, device = layout.batch, layout.place.device
    counts = torch.tensor([unit.count for unit in units], device=device)
    ids, mask, types, ends, kept = (
        rows.repeat_interleave(counts, 0)
        for rows in (batch.input_ids, batch.attention_mask, batch.token_types, layout.ends, layout.kept)
    )
    images = tuple(unit.first + copy for unit in units for copy in range(unit.count))
    place = layout.place.repeat_interleave(counts, 1)
    tokens = types[:, layout.common :].flatten().nonzero()[:, 0]
    return Layout(Batch(ids, mask, types, images), place, ends, kept, layout.common, tokens)
