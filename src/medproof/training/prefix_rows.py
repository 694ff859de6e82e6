"""Groups as rows of tokens: one row `[prompt | c1 | ... | cG]` per group, or one row per completion.

In a shared row a completion sees the prompt and itself, and its positions begin right behind the prompt, so that the
model computes for it what it would compute for `[prompt | c]` alone, and the prompt is read once for the whole group.
The last token of a completion predicts nothing and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch

from medproof.images.grid import Grid
from medproof.images.preprocess import patchify
from medproof.models.batch import Batch, Row, pad_rows, positions
from medproof.models.chat import Chat
from medproof.training.groups import Group, Images

Layout = Literal["shared", "repeated"]
PADDING, PROMPT = -1, 0


@dataclass(frozen=True, eq=False)
class GroupBatch:
    """B groups of G completions, the longest of L tokens, in R right-padded rows of T tokens (R = B or B * G).

    pixel_values, grid_thw: the distinct images; differentiable in the pixels they were collated from.
    segments: [R, T], `PADDING`, `PROMPT` or the number of the completion from 1. offsets: [R, T], place in it.
    sources: [N], of each of the N completion tokens the place in the flattened rows that predicts it; targets: [N], its
    id; both in the order of mask: [B, G, L] bool.
    """

    rows: Batch
    pixel_values: torch.Tensor
    grid_thw: torch.Tensor
    segments: torch.Tensor
    offsets: torch.Tensor
    sources: torch.Tensor
    targets: torch.Tensor
    mask: torch.Tensor
    layout: Layout

    def to(self, device: torch.device) -> GroupBatch:
        names = ("pixel_values", "grid_thw", "segments", "offsets", "sources", "targets", "mask")
        return replace(self, rows=self.rows.to(device), **{name: getattr(self, name).to(device) for name in names})


class _Replies(NamedTuple):
    """What one row holds."""

    prompt: tuple[int, ...]
    image: int
    replies: tuple[tuple[int, ...], ...]


def collate_groups(
    chat: Chat, grid: Grid, groups: Sequence[Group], images: Images, pad_id: int, layout: Layout = "shared"
) -> GroupBatch:
    """Rows in the order of `groups`; `images.of[i]` is the image of group i.

    A shared row is as long as the prompt and all its completions: where that does not fit, take "repeated".
    Raises ValueError for groups of unequal size, an image of another size than the prompt was made for, and an image
    token in a completion.
    """
    _check(chat, grid, groups, images)
    held = [row for group, image in zip(groups, images.of, strict=True) for row in _split(group, image, layout)]
    inputs = [Row(row.prompt + tuple(i for reply in row.replies for i in reply[:-1]), row.image) for row in held]
    rows = pad_rows(inputs, chat.image_token_id, pad_id, left=False)
    segments = torch.full_like(rows.input_ids, PADDING)
    offsets = torch.zeros_like(rows.input_ids)
    sources: list[int] = []
    for r, row in enumerate(held):
        first, end = r * segments.shape[1], len(row.prompt)
        segments[r, :end] = PROMPT
        for number, reply in enumerate(row.replies, start=1):
            start, end = end, end + len(reply[:-1])
            segments[r, start:end] = number
            offsets[r, start:end] = torch.arange(end - start)
            sources += [first + len(row.prompt) - 1, *range(first + start, first + end)][: len(reply)]
    lengths = torch.tensor([[len(c.ids) for c in group.completions] for group in groups])
    pixel_values, grid_thw = patchify(images.pixels, grid)
    return GroupBatch(
        rows=rows,
        pixel_values=pixel_values,
        grid_thw=grid_thw,
        segments=segments,
        offsets=offsets,
        sources=torch.tensor(sources, dtype=torch.long),
        targets=torch.tensor([i for row in held for reply in row.replies for i in reply], dtype=torch.long),
        mask=torch.arange(int(lengths.max())) < lengths[..., None],
        layout=layout,
    )


def block_mask(segments: torch.Tensor) -> torch.Tensor:
    """[R, T] segments -> [R, 1, T, T] bool: which earlier tokens (last axis) a token sees.

    Those of the prompt and of its own completion. Padding sees the prompt too, so that no row of the softmax is empty.
    """
    own = segments[:, :, None] == segments[:, None, :]
    prompt = (segments == PROMPT)[:, None, :]
    causal = torch.ones(segments.shape[1], segments.shape[1], dtype=torch.bool, device=segments.device).tril()
    return ((own | prompt) & causal)[:, None]


def row_positions(net: Any, batch: GroupBatch) -> torch.Tensor:
    """[3, R, T] M-RoPE positions: the prompt's by the model's own rule, then each completion from the next one on."""
    prompts = replace(batch.rows, attention_mask=(batch.segments == PROMPT).long())
    place = positions(net, prompts, batch.grid_thw)
    following = place.amax(dim=(0, 2)) + 1  # [R]; positions off the prompt are 0
    return torch.where(batch.segments > PROMPT, following[:, None] + batch.offsets, place)


def _split(group: Group, image: int, layout: Layout) -> Iterator[_Replies]:
    replies = tuple(completion.ids for completion in group.completions)
    for part in [replies] if layout == "shared" else [(reply,) for reply in replies]:
        yield _Replies(group.prompt.ids, image, part)


def _check(chat: Chat, grid: Grid, groups: Sequence[Group], images: Images) -> None:
    if len({len(group.completions) for group in groups}) != 1:
        raise ValueError("a batch takes one or more groups, all with the same number of completions")
    for group, image in zip(groups, images.of, strict=True):
        name, (_, height, width) = group.prompt.item.id, images.pixels[image].shape
        if group.prompt.ids.count(chat.image_token_id) != grid.tokens(height, width):
            raise ValueError(f"the prompt of {name} was made for another image size than {width}x{height}")
        if any(chat.image_token_id in completion.ids for completion in group.completions):
            raise ValueError(f"a completion of {name} holds an image token: the engine must suppress vision tokens")
