"""Accuracy during training, with the image and without it: reward can rise while looking falls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from medproof.datasets.dataset import sample_items
from medproof.records import Item
from medproof.scoring.parse import parse
from medproof.seeds import derive_seed
from medproof.training.groups import Images, Prompt
from medproof.training.grpo_recipe import WatchSection
from medproof.training.rollout import Engine, Sampling

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


@dataclass(frozen=True)
class Watch:
    """The prompts watched by this process."""

    prompts: Sequence[Prompt]
    max_completion_length: int

    def correct(self, engine: Engine) -> tuple[int, int]:
        """How many greedy replies are right: (with the image, with a mid-grey one of the same size)."""
        greedy = Sampling(1, self.max_completion_length, temperature=0.0)
        seen = blind = 0
        for start in range(0, len(self.prompts), _CHUNK):
            prompts = self.prompts[start : start + _CHUNK]
            images = Images.of_prompts(prompts)
            seen += _right(engine, prompts, images, greedy)
            blind += _right(engine, prompts, images.blank(), greedy)
        return seen, blind


def _right(engine: Engine, prompts: Sequence[Prompt], images: Images, sampling: Sampling) -> int:
    groups = engine.generate(prompts, images, sampling)
    return sum(
        parse(group.completions[0].text, group.prompt.item.options, group.prompt.mode).choice
        == group.prompt.item.answer_index
        for group in groups
    )
