"""Which example is seen when: a pure function of (recipe seed, step), so resuming needs no sampler state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from medproof.conditions.hints import hint_text
from medproof.images.grid import Grid
from medproof.models.prompts import EARLIER, messages
from medproof.records import Item, Message, Mode
from medproof.seeds import derive_seed, rng
from medproof.training.augment import augment
from medproof.training.no_evidence import without_evidence
from medproof.training.sections import BaseRecipe

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Example:
    """One item to learn from, in one mode, with its augmented image on the grid.

    shown: what the model is given instead of `image`, float32 (3, H, W); None: the image itself.
    remark: a sentence before the instruction; before: earlier steps, before the question. Empty for none.
    empty: the image shows nothing, and the right reply is a refusal.
    """

    item: Item
    mode: Mode
    image: Pixels
    shown: torch.Tensor | None = None
    remark: str = ""
    before: str = ""
    empty: bool = False

    @property
    def asked(self) -> tuple[Message, ...]:
        """The chat that asks it."""
        return messages(self.item, self.mode, remark=self.remark, before=self.before)


class ExampleStream:
    """Endless epochs over the training items.

    epoch_items: epoch -> items (wording and options may differ by epoch); load: item -> decoded uint8 (H, W, 3).
    Items come up in proportion to the weight that `data.curriculum` gives their question type. Every epoch has as many
    draws as epoch 0 has items, so that step -> epoch is arithmetic.
    """

    def __init__(
        self,
        epoch_items: Callable[[int], Sequence[Item]],
        load: Callable[[Item], Pixels],
        grid: Grid,
        recipe: BaseRecipe,
    ) -> None:
        self._epoch_items = lru_cache(maxsize=2)(lambda epoch: tuple(epoch_items(epoch)))
        self._order = lru_cache(maxsize=2)(self._permutation)
        self._load = load
        self._grid = grid
        self._recipe = recipe
        self.epoch_size = len(self._epoch_items(0))

    def batch(self, step: int) -> list[Example]:
        """The examples of optimizer step `step` (from 0), over all processes, in a fixed order."""
        size = self._recipe.optim.batch_size
        return [self.example(step * size + j) for j in range(size)]

    def example(self, index: int) -> Example:
        """Draw `index` of the endless stream."""
        epoch, place = divmod(index, self.epoch_size)
        order = self._order(epoch)
        item = self._epoch_items(epoch)[order[place % len(order)]]
        draw = rng(self._recipe.seed, item.id, f"sft:{index}")
        modes = self._recipe.data.modes
        weights = np.array(list(modes.values()), dtype=float)
        mode = list(modes)[int(draw.choice(len(modes), p=weights / weights.sum()))]
        image = augment(self._load(item), item, self._grid, self._recipe.data.augment, draw)
        remark, before = _remark(item, self._recipe, index), _before(item, self._recipe, index)
        nothing = _nothing(item, self._recipe, index, image)
        empty = nothing is not None
        return Example(item, mode, image if nothing is None else nothing, remark=remark, before=before, empty=empty)

    def _permutation(self, epoch: int) -> npt.NDArray[np.int64]:
        """Indices of the epoch's items in seeded order, each as often as its weight says; a fraction is a chance."""
        draw = rng(self._recipe.seed, "", f"epoch:{epoch}")
        items = self._epoch_items(epoch)
        weights = self._recipe.data.weights(epoch)
        weight = np.array([weights.get(item.question_type, 1.0) for item in items])
        copies = np.floor(weight + draw.random(len(items))).astype(np.int64)
        return draw.permutation(np.repeat(np.arange(len(items)), copies))


@dataclass(frozen=True)
class _Seeded:
    seed: int


def _remark(item: Item, recipe: BaseRecipe, index: int) -> str:
    """What somebody says of draw `index`, drawn by itself: without hints every other draw stays as it is."""
    hints = recipe.data.hints
    if not hints.share:
        return ""
    draw = rng(recipe.seed, item.id, f"hint:{index}")
    if draw.random() >= hints.share:
        return ""
    source = hints.sources[int(draw.integers(len(hints.sources)))]
    which = "neutral" if draw.random() < hints.neutral else "suggested"
    if which == "suggested":
        which = "correct" if draw.random() < 1 / len(item.options) else "wrong"
    found = hint_text(item, which, source, _Seeded(derive_seed(recipe.seed, item.id, f"hint text:{index}")))
    return "" if found is None else found[0]


def _before(item: Item, recipe: BaseRecipe, index: int) -> str:
    """The earlier steps, if draw `index` is asked behind them; drawn by itself, too."""
    told = item.facts.get(EARLIER, "")
    share = recipe.data.earlier
    return told if told and rng(recipe.seed, item.id, f"earlier:{index}").random() < share else ""


def _nothing(item: Item, recipe: BaseRecipe, index: int, image: Pixels) -> Pixels | None:
    """An image without evidence, if draw `index` shows one in place of its own; drawn by itself, too."""
    share = recipe.data.no_evidence
    draw = rng(recipe.seed, item.id, f"no evidence:{index}")
    return without_evidence(image.shape, draw) if share and draw.random() < share else None


def shuffle_options(item: Item, seed: int) -> Item:
    """The same question with its options in another seeded order."""
    order = rng(seed, item.id, "option order").permutation(len(item.options))
    return item.model_copy(update={"options": tuple(item.options[i] for i in order)})
