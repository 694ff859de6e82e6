"""Votes of a base classifier on noisy copies of images: the one place where a smoothed model meets the real one.

`VoteEngine.draw` answers many requests at once, from images at any stage of their plans. It keeps nothing between
calls, and draw d of a request depends on its image, question, seed and d alone, so counts can be made in shards.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medproof.errors import UserError
from medproof.images.preprocess import to_float
from medproof.models.protocol import CopyVoter, Model
from medproof.records import Decoding, Item, View
from medproof.scoring.parse import parse
from medproof.seeds import derive_seed
from medproof.smoothing.eight_bit import EightBit
from medproof.smoothing.noise import Floats, noisy_copies, standard_normal

Base = Literal["option_argmax", "greedy", "sampled"]
Votes = npt.NDArray[np.int64]
"""(draws,) the class that each draw voted for, as an index into `VoteEngine.classes`, in the order of the draws."""
BASES: tuple[Base, ...] = ("option_argmax", "greedy", "sampled")
BLOCK = 32
"""Copies of one image that are made, encoded and asked together; cut at whole multiples of it, whatever is asked."""
UNPARSED = "unparsed"


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws `first` to `first + count - 1` of a view. `seed`: key of the noise of its image (`noise.noise_key`).

    Views of one image with one seed share their noisy copies. The view's mode says how a reasoning model is asked.
    """

    view: View
    seed: int
    first: int
    count: int


@dataclass(frozen=True, eq=False)
class _Block:
    """One stretch of copies of one image, with the requests (by number) that ask about them."""

    draws: Draws
    members: tuple[int, ...]


class VoteEngine:
    """Votes of `model` under Gaussian noise of standard deviation `sigma`, in [0, 1] pixels. For one thread.

    base: `option_argmax`: the likeliest option letter where it opens the reply; `greedy`: the decoded reply, parsed;
        `sampled`: the same with sampling, fresh random numbers for each draw.
    rounded: see `noise.noisy_copies`.
    decoding: of the reasoning bases; by default the model's own for the view's mode, at temperature 1 where sampled.
    threads: that make noise, by default up to 4.
    batch: the most noisy copies that are encoded in one pass, and text rows in one pass; halved when memory runs out.
        At BLOCK a pass holds one image, and its numbers do not depend on what else is asked for.

    Raises UserError where sigma is not positive and where the model cannot be asked in this way.
    """

    def __init__(
        self,
        model: Model,
        sigma: float,
        *,
        base: Base = "option_argmax",
        rounded: bool = False,
        decoding: Decoding | None = None,
        batch: int = BLOCK,
        threads: int | None = None,
    ) -> None:
        if not (0 < sigma < float("inf")):
            raise UserError(f"sigma is {sigma:g}: give a positive number, in [0, 1] pixels, such as 0.25")
        if base == "option_argmax" and not isinstance(model, CopyVoter):
            raise UserError(
                f"model {model.name} gives no log-probabilities of the options, which option_argmax counts: use base "
                "greedy or sampled, or a local model"
            )
        self.model: CopyVoter = model if isinstance(model, CopyVoter) else EightBit(model)  # type: ignore[assignment]
        self.sigma, self.base, self.rounded = sigma, base, rounded
        self.batch = batch
        self._decoding = decoding
        self._threads = threads or min(4, os.cpu_count() or 1)

    def classes(self, item: Item) -> tuple[str, ...]:
        """What votes are counted for: the options in order; for reasoning bases a last class, `UNPARSED`.

        A reply that chooses no option, refusals too, is a vote for `UNPARSED`. It is never dropped.
        """
        return item.options if self.base == "option_argmax" else (*item.options, UNPARSED)

    def decoding(self, view: View) -> Decoding:
        """How replies to a view are decoded by the reasoning bases."""
        chosen = self._decoding or self.model.decoding(view.mode)
        if self.base == "sampled" and chosen.temperature == 0:
            chosen = chosen.model_copy(update={"temperature": 1.0})
        return chosen

    def draw(self, requests: Sequence[Draws]) -> list[Votes]:
        """Per request the votes of its draws, in their order; `tallied` counts them by class.

        Raises ValueError for a view without an image on the model's grid, FloatingPointError where logits are not
        finite, and torch.OutOfMemoryError where a single copy does not fit.
        """
        cast: list[list[Tensor]] = [[] for _ in requests]
        for blocks in self._passes(_blocks(requests)):
            for number, choices in self._vote(blocks, requests):
                cast[number].append(choices)
        # Read at the end, so that a GPU is never waited for in between.
        votes = [torch.cat(parts).cpu().numpy() if parts else np.empty(0, np.int64) for parts in cast]
        for request, chosen in zip(requests, votes, strict=True):
            if (chosen < 0).any():
                raise FloatingPointError(f"logits of {request.view.item.id} under noise are not finite")
        return votes

    def _passes(self, blocks: Sequence[_Block]) -> Iterator[list[tuple[_Block, Floats]]]:
        """Blocks with their noise, as many at a time as make a batch. Threads make the noise of those to come."""
        with ThreadPoolExecutor(self._threads) as pool:
            waiting: deque[tuple[_Block, Future[Floats]]] = deque()
            queue = deque(blocks)
            while queue or waiting:
                while queue and len(waiting) < 2 * max(self._threads, self.batch // BLOCK):
                    waiting.append((queue[0], pool.submit(_normal, queue.popleft())))
                taken = [waiting.popleft()]
                while waiting and sum(b.draws.count for b, _ in taken) + waiting[0][0].draws.count <= self.batch:
                    taken.append(waiting.popleft())
                yield [(block, future.result()) for block, future in taken]

    def _vote(self, blocks: Sequence[tuple[_Block, Floats]], requests: Sequence[Draws]) -> list[tuple[int, Tensor]]:
        """(request, (n,) class per copy) for every request of every block; halved where memory runs out."""
        try:
            return self._vote_at_once(blocks, requests)
        except torch.OutOfMemoryError:
            halves = _halves(blocks)
            if halves is None:
                raise
            self.batch = max(1, sum(block.draws.count for block, _ in blocks) // 2)
        torch.cuda.empty_cache()
        return [cast for half in halves for cast in self._vote(half, requests)]

    def _vote_at_once(
        self, blocks: Sequence[tuple[_Block, Floats]], requests: Sequence[Draws]
    ) -> list[tuple[int, Tensor]]:
        copies = [self._copies(block, normal) for block, normal in blocks]
        if self.base == "option_argmax":
            views = [[requests[number].view for number in block.members] for block, _ in blocks]
            logits = self.model.copy_letters(copies, views, self.batch)
            return [
                (number, _argmax(one))
                for (block, _), several in zip(blocks, logits, strict=True)
                for number, one in zip(block.members, several, strict=True)
            ]
        return [
            (number, self._read(image, block.draws, requests[number]))
            for (block, _), image in zip(blocks, copies, strict=True)
            for number in block.members
        ]

    def _copies(self, block: _Block, normal: Floats) -> Tensor:
        pixels = block.draws.view.image
        assert pixels is not None  # `_blocks` has looked
        device = self.model.device
        return noisy_copies(
            to_float(pixels).to(device), self.sigma, torch.from_numpy(normal).to(device), rounded=self.rounded
        )

    def _read(self, copies: Tensor, where: Draws, request: Draws) -> Tensor:
        """(n,) class of the decoded reply to each copy."""
        view, item = request.view, request.view.item
        seeds = [
            derive_seed(request.seed, item.id, f"reply {draw}")
            for draw in range(where.first, where.first + len(copies))
        ]
        replies = self.model.copy_replies(copies, view, self.decoding(view), seeds)
        choices = [parse(reply.text, item.options, view.mode).choice for reply in replies]
        return torch.tensor([len(item.options) if choice is None else choice for choice in choices])


def tallied(classes: Sequence[str], votes: Votes) -> dict[str, int]:
    """Votes by class, for `Scheme.add`; classes without a vote are left out."""
    counts = np.bincount(votes, minlength=len(classes)).tolist()
    return {label: count for label, count in zip(classes, counts, strict=True) if count}


def _blocks(requests: Sequence[Draws]) -> list[_Block]:
    """The requests cut at multiples of BLOCK; stretches of one image that coincide become one block.

    Raises ValueError for a view without an image.
    """
    found: dict[tuple[int, str, int, int], list[int]] = {}
    for number, request in enumerate(requests):
        if request.view.image is None:
            raise ValueError(f"{request.view.item.id} has no image to add noise to")
        first, last = request.first, request.first + request.count
        while first < last:
            stop = min(last, (first // BLOCK + 1) * BLOCK)
            found.setdefault((request.seed, request.view.pixels_sha256, first, stop), []).append(number)
            first = stop
    return [
        _Block(replace(requests[members[0]], first=first, count=stop - first), tuple(members))
        for (_, _, first, stop), members in found.items()
    ]


def _normal(block: _Block) -> Floats:
    draws = block.draws
    assert draws.view.image is not None
    height, width = draws.view.image.shape[:2]
    return standard_normal(draws.seed, draws.first, draws.count, (3, height, width))


def _argmax(logits: Tensor) -> Tensor:
    """(n, K) -> (n,); -1 where a logit is not finite."""
    return logits.argmax(-1).masked_fill(~logits.isfinite().all(-1), -1)


def _halves(blocks: Sequence[tuple[_Block, Floats]]) -> tuple[list[tuple[_Block, Floats]], ...] | None:
    """Two lists of blocks with the same copies; None for a single copy."""
    if len(blocks) > 1:
        middle = len(blocks) // 2
        return list(blocks[:middle]), list(blocks[middle:])
    ((block, normal),) = blocks
    middle = len(normal) // 2
    if middle == 0:
        return None
    draws = block.draws
    front = replace(block, draws=replace(draws, count=middle))
    back = replace(block, draws=replace(draws, first=draws.first + middle, count=draws.count - middle))
    return [(front, normal[:middle])], [(back, normal[middle:])]
