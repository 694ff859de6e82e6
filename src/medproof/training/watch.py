"""Accuracy during training, with the image, without it and with it attacked: reward can rise while looking falls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, zip_longest
from typing import Any

import torch

from medproof.attacks.threat import ThreatModel
from medproof.datasets.dataset import sample_items
from medproof.images.preprocess import to_float
from medproof.models.prompts import answer_prefix
from medproof.records import Item, Mode
from medproof.scoring.parse import parse
from medproof.seeds import derive_seed
from medproof.training.adversarial_recipe import WatchAttack
from medproof.training.attack_objectives import Margin
from medproof.training.examples import Example
from medproof.training.groups import Group, Images, Prompt
from medproof.training.inner_attack import InnerAttack, step_rule
from medproof.training.optim import TrainingError
from medproof.training.prompt_stream import make_prompt
from medproof.training.rollout import Engine, Sampling
from medproof.training.rollout.weights import copy_weights
from medproof.training.session import Session
from medproof.training.setup import Setup, TrainingData
from medproof.training.watch_recipe import WatchSection

_CHUNK = 64


def choose(items: Sequence[Item], watch: WatchSection, seed: int) -> tuple[Item, ...]:
    """The items to watch. To be held out: those of whole clusters (patients), modality by modality in seeded order."""
    if not watch.held_out:
        return tuple(sample_items(items, watch.items, seed))
    clusters: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        clusters[item.cluster].append(item)
    by_modality: defaultdict[str, list[list[Item]]] = defaultdict(list)
    for name in sorted(clusters, key=lambda name: derive_seed(seed, name, "watch")):
        by_modality[clusters[name][0].modality].append(clusters[name])
    rounds = zip_longest(*(by_modality[modality] for modality in sorted(by_modality)), fillvalue=[])
    return tuple(chain.from_iterable(chain.from_iterable(rounds)))[: watch.items]


@dataclass
class Watch:
    """Greedy accuracy on the same items: with the image, with a grey one, and with an attacked one.

    prompts: those of this process; total: of all processes. net: what the engine's weights are synced with. attack: of
    the network that the engine samples from. blank_before: how many were right without an image at the first look.
    blind: whether the recipe's rule ends the run.
    """

    session: Session
    net: Any
    engine: Engine
    attack: InnerAttack
    prompts: Sequence[Prompt]
    total: int
    max_completion_length: int
    blank_before: int | None = None
    blind: bool = False

    @property
    def settings(self) -> WatchSection:
        return self.session.recipe.watch

    @property
    def how(self) -> WatchAttack | None:
        """The attack to make; None for none."""
        return self.settings.attack.against(self.session.recipe.adversarial)

    def is_due(self, step: int, last: int) -> bool:
        """Whether to look after `step` steps of `last`."""
        return self.settings.every > 0 and (step % self.settings.every == 0 or step == last)

    def measure(self) -> dict[str, float]:
        """`eval/...`, over all processes. Decides whether the model has grown blind."""
        self.engine.sync(self.net)
        copy_weights(self.net, self.attack.net)
        seen = blank = robust = 0
        for start in range(0, len(self.prompts), _CHUNK):
            prompts = self.prompts[start : start + _CHUNK]
            images = Images.of_prompts(prompts)
            right = self._right(prompts, images)
            seen += len(right)
            blank += len(self._right(prompts, images.blank()))
            robust += self._survivors(right)
        accelerator = self.session.accelerator
        counts = accelerator.reduce(torch.tensor([seen, blank, robust], device=accelerator.device), "sum")
        seen, blank, robust = (int(count) for count in counts)
        if self.blank_before is None:
            self.blank_before = blank
        limit = self.settings.stop_when_blind
        self.blind = limit is not None and blank - self.blank_before > limit * self.total
        row = {"eval/accuracy": seen / self.total, "eval/blank_accuracy": blank / self.total}
        return row | ({} if self.how is None else {"eval/robust_accuracy": robust / self.total})

    def counters(self) -> dict[str, int]:
        """What a checkpoint keeps of it."""
        return {"blind": int(self.blind)} | ({} if self.blank_before is None else {"blank_before": self.blank_before})

    def restore(self, counters: Mapping[str, int]) -> None:
        self.blind = bool(counters.get("blind", 0))
        self.blank_before = counters.get("blank_before")

    def raise_if_blind(self, step: int) -> None:
        """Raises TrainingError where the recipe's rule has ended the run."""
        if self.blind and self.blank_before is not None:
            raise TrainingError(
                f"stopped at step {step}: blank-image accuracy is more than {self.settings.stop_when_blind} above the "
                f"{self.blank_before / self.total:.3f} it began with, so the model learns to answer without looking "
                "(watch.stop_when_blind); checkpoint and model are kept"
            )

    def _right(self, prompts: Sequence[Prompt], images: Images) -> list[Group]:
        """The greedy replies that are right."""
        greedy = Sampling(1, self.max_completion_length, temperature=0.0)
        groups = self.engine.generate(prompts, images, greedy)
        return [
            group
            for group in groups
            if parse(group.completions[0].text, group.prompt.item.options, group.prompt.mode).choice
            == group.prompt.item.answer_index
        ]

    def _survivors(self, right: list[Group]) -> int:
        """How many of these replies stay right under attack."""
        how = self.how
        if how is None:
            return 0
        for restart in range(how.restarts):
            if right:
                attacked = self._attacked(how, right, restart)
                still = {group.prompt.item.id for group in self._right([group.prompt for group in right], attacked)}
                right = [group for group in right if group.prompt.item.id in still]
        return len(right)

    def _attacked(self, how: WatchAttack, right: Sequence[Group], restart: int) -> Images:
        """PGD on the margin behind the reply to the clean image, from a random point of the ball."""
        steps = how.steps or 0
        threat = ThreatModel(how.norm, Fraction(how.eps or 0))
        prompts = [group.prompt for group in right]
        clean = [to_float(prompt.image) for prompt in prompts]
        prefixes = [answer_prefix(group.completions[0].text) for group in right]
        seeds = [derive_seed(self.session.recipe.seed, prompt.item.id, f"watch:{restart}") for prompt in prompts]
        starts = [threat.random_start(image, seed) for image, seed in zip(clean, seeds, strict=True)]

        def margin(part: slice) -> Margin:
            return Margin(self.attack.chat, prompts[part], prefixes[part])

        found = self.attack(margin, clean, starts, threat, step_rule(threat, "cosine", steps), steps)
        return Images(tuple(found.images), tuple(range(len(prompts))))


def hold_out(source: TrainingData, watch: WatchSection, seed: int) -> tuple[Item, ...]:
    """The items to watch, taken out of the training data where they are to be; none where nothing is watched."""
    watched = choose(source.dataset.items, watch, seed) if watch.every else ()
    if watch.held_out:
        source.hold_out({item.cluster for item in watched})
    return tuple(source.stated(watched))


def watch_prompts(items: Sequence[Item], mode: Mode, parts: Setup) -> list[Prompt]:
    """The items as they are asked; nothing is drawn for them."""
    chat, grid, pixels = parts.chat, parts.grid, parts.source.pixels
    return [make_prompt(chat, grid, Example(item, mode, grid.render(pixels(item))), 0) for item in items]
