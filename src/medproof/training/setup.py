"""From a recipe to the parts of a run: net, chat, grid, stream of examples."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medproof.datasets.dataset import Dataset
from medproof.datasets.load import load
from medproof.errors import UserError
from medproof.images.decode import decode
from medproof.images.grid import Grid
from medproof.models import nano
from medproof.models.attention import use_grouped_vision_attention
from medproof.models.chat import Chat
from medproof.models.loading import load_net, load_processor
from medproof.models.patch_embed import use_linear_patch_embedding
from medproof.models.prompts import question_text, target_text
from medproof.models.qwen_vl import weights_hash
from medproof.models.special_ids import pad_id
from medproof.records import Item
from medproof.seeds import derive_seed
from medproof.training.examples import ExampleStream, shuffle_options
from medproof.training.recipe import AnyRecipe
from medproof.training.sections import DataSection, Lora
from medproof.training.steps import with_earlier, with_steps

TOKENIZER_EPOCHS = 4
SPARE_TOKENS = 16


@dataclass(frozen=True)
class Setup:
    """Everything a training loop needs. `processor`: content of preprocessor_config.json; `init_weights`: hash of the
    weights it begins with, without adapter; `source`: the training items and their images."""

    net: Any
    chat: Chat
    grid: Grid
    processor: dict[str, Any]
    stream: ExampleStream
    source: TrainingData
    init_weights: str

    @property
    def dataset(self) -> Dataset:
        return self.source.dataset

    @property
    def pad_id(self) -> int:
        return pad_id(self.chat.tokenizer)


def set_up(recipe: AnyRecipe, device: torch.device, source: TrainingData | None = None) -> Setup:
    """Load data (unless given), build or load the model, make the example stream.

    Raises UserError when no item is left, and where an image file is missing.
    """
    source = source or TrainingData(recipe.data, recipe.seed)
    source.check()
    net, chat, grid, processor = _model(recipe, source)
    init_weights = weights_hash(net)
    if recipe.data.rationale == "chain":
        net.generation_config.max_new_tokens = _room(chat, source)
    use_grouped_vision_attention(net)
    use_linear_patch_embedding(net)
    if recipe.model.gradient_checkpointing:
        net.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if recipe.model.lora is not None:
        net = _with_lora(net, recipe.model.lora)
    stream = ExampleStream(source.epoch_items, source.pixels, grid, recipe)
    return Setup(net.to(device), chat, grid, processor, stream, source, init_weights)


class TrainingData:
    """The recipe's training items, redrawn per epoch where asked, and their decoded images."""

    def __init__(self, section: DataSection, seed: int) -> None:
        self._section = section
        self._seed = seed
        self._held_out: frozenset[str] = frozenset()
        self._loaded = self._load(derive_seed(seed, "", "options:0"))
        self.dataset = self._kept(self._loaded)
        self._decoded = lru_cache(maxsize=4096)(self._decode)

    def hold_out(self, clusters: Collection[str]) -> None:
        """Leave the items of these clusters (`Item.cluster`) out of every epoch."""
        self._held_out = frozenset(clusters)
        self.dataset = self._kept(self.dataset)

    def check(self) -> None:
        """Raises UserError when no item is left or an item's image file is missing."""
        if not self.dataset.items:
            raise UserError("no training items are left after the recipe's filters: widen data.* in the recipe")
        try:
            self.dataset.check_images()
        except UserError as error:
            raise UserError(f"{error}; in a recipe that folder is data.images") from error

    def epoch_items(self, epoch: int) -> Sequence[Item]:
        """Items of one epoch: with `fresh_options`, wording and distractors are redrawn and their order reshuffled."""
        if not self._section.fresh_options:
            return self.stated(self.dataset.items)
        seed = derive_seed(self._seed, "", f"options:{epoch}")
        redrawn = self._loaded if epoch == 0 else self._load(seed)
        return [shuffle_options(item, seed) for item in self.stated(self._kept(redrawn).items, redrawn)]

    def stated(self, items: Sequence[Item], drawn: Dataset | None = None) -> Sequence[Item]:
        """The items with what the recipe says of their chains; drawn: the data of their epoch, by default the first.

        Chains are made of all training items, those that are filtered out or held out too.
        """
        everything = (drawn or self._loaded).items
        if self._section.rationale == "chain":
            items = with_steps(items, everything)
        return with_earlier(items, everything) if self._section.earlier else items

    def _load(self, seed: int) -> Dataset:
        s = self._section
        images = None if s.images is None else Path(s.images)
        return load(s.train, images_root=images, split="train", seed=seed, license_classes=s.license_classes)

    def _kept(self, dataset: Dataset) -> Dataset:
        kept = (i for i in dataset.items if self._section.keeps(i) and i.cluster not in self._held_out)
        return replace(dataset, items=tuple(kept))

    def pixels(self, item: Item) -> npt.NDArray[np.uint8]:
        """Decoded (H, W, 3) uint8 at stored size."""
        return self._decoded(self.dataset.image_path(item), item.frame, item.window)

    def _decode(self, path: Path, frame: int | None, window: str | None) -> npt.NDArray[np.uint8]:
        return decode(path, frame=frame, window=window).pixels


def _model(recipe: AnyRecipe, source: TrainingData) -> tuple[Any, Chat, Grid, dict[str, Any]]:
    if recipe.model.init == "fresh-nano":
        tokenizer = nano.build_tokenizer(_training_text(recipe, source))
        config = nano.build_config(tokenizer)
        chat = Chat(tokenizer, config.image_token_id, "nano")
        return nano.build_net(config, recipe.seed), chat, nano.GRID, nano.processor_config(nano.GRID)
    chat, grid, image_processor = load_processor(recipe.model.init)
    net = load_net(recipe.model.init, torch.device("cpu"), getattr(torch, recipe.model.dtype))
    return net, chat, grid, image_processor.to_dict()


def _room(chat: Chat, source: TrainingData) -> int:
    """Tokens of the longest stepwise reply, and some more: the model's folder says how long its replies may be."""
    texts = [target_text(item, "think") for item in source.stated(source.dataset.items)]
    return max(len(chat.text_ids(text)) for text in texts) + SPARE_TOKENS


def _training_text(recipe: AnyRecipe, source: TrainingData) -> list[str]:
    """What the tokenizer is trained on: prompts and targets of a few epochs, in every mode of the recipe."""
    return [
        part
        for epoch in range(TOKENIZER_EPOCHS)
        for item in source.epoch_items(epoch)
        for mode in recipe.data.modes
        for part in (question_text(item, mode), target_text(item, mode))
    ] + [
        target_text(source.dataset.items[0], mode, empty=True) for mode in recipe.data.modes if recipe.data.no_evidence
    ]


def _with_lora(net: Any, lora: Lora) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(**lora.model_dump(exclude={"target_modules"}), target_modules=list(lora.target_modules))
    return get_peft_model(net, config)
