"""Baselines that never see a pixel, `--model majority` and `--model option_count`: level 1 of the protocol. No torch.

They read an item's own question and options as asked, never the messages: hints and cues cannot reach them.

- `majority`: of the options offered, the one that was most often right in training to the same question (of a built
  benchmark, in the same task). Among equals, and so where the question is new, one is drawn: chance, 1 / K.
- `option_count`: METRICS, Acc_textprior: the table of `scoring.text_prior` over all training items.

A local model that is shown no image is the third blind baseline: the condition `noimage`.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Sequence

from medproof.errors import UserError
from medproof.models.protocol import Reply
from medproof.records import LETTERS, Decoding, Item, Mode, View
from medproof.scoring.steps import CHAIN_STEPS
from medproof.scoring.text_prior import TextPrior, normal_form
from medproof.seeds import rng


class Baseline(ABC):
    """Replies with one letter. `_choose` gives the text of an option of the item as asked."""

    grid = None
    processor_hash = hashlib.sha256(b"no image is read").hexdigest()

    def __init__(self, name: str, table: object) -> None:
        self.name = name
        self.weights_hash = hashlib.sha256(json.dumps([name, table], sort_keys=True).encode()).hexdigest()

    def decoding(self, mode: Mode) -> Decoding:
        """Nothing is decoded."""
        return Decoding(max_new_tokens=1)

    def cost(self, view: View) -> int:
        """One: nothing is computed."""
        return 1

    def generate(self, views: Sequence[View], decoding: Decoding, seed: int = 0) -> list[Reply]:
        """One reply per view, in order. Raises UserError where a view asks several questions at once."""
        if any(view.info.get(CHAIN_STEPS, 1) > 1 for view in views):
            raise UserError(f"model {self.name} answers one question at a time: leave out steps(joint)")
        return [self._reply(view.item, seed) for view in views]

    def _reply(self, item: Item, seed: int) -> Reply:
        letter = LETTERS[item.options.index(self._choose(item, seed))]
        return Reply(f"<answer>{letter}</answer>", 0, 0, truncated=False)

    @abstractmethod
    def _choose(self, item: Item, seed: int) -> str:
        """One of the item's options."""


class Majority(Baseline):
    """The most frequent right answer of the same question; see the module."""

    def __init__(self, train: Sequence[Item]) -> None:
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for item in train:
            counts[question_of(item)][normal_form(item.answer)] += 1
        self._counts = {question: dict(found) for question, found in counts.items()}
        super().__init__("majority", self._counts)

    def _choose(self, item: Item, seed: int) -> str:
        seen = self._counts.get(question_of(item), {})
        times = {option: seen.get(normal_form(option), 0) for option in item.options}
        most = sorted(option for option in item.options if times[option] == max(times.values()))
        return most[int(rng(seed, item.id, "majority").integers(len(most)))]


class OptionCount(Baseline):
    """The option of highest `TextPrior.score`; of equals, the first."""

    def __init__(self, train: Sequence[Item]) -> None:
        self._prior = TextPrior.fit(train)
        super().__init__("option_count", {text: list(pair) for text, pair in self._prior.counts.items()})

    def _choose(self, item: Item, seed: int) -> str:
        return self._prior.predict(item)


def question_of(item: Item) -> str:
    """What counts as the same question: the task of a built benchmark (the end of the id), else the question's text."""
    return item.question if item.stage is None else item.id.rpartition("/")[2]


def load_baseline(name: str, items: Sequence[Item]) -> Baseline:
    """`majority` or `option_count`, fitted on the training items among `items`.

    Raises UserError where there is none.
    """
    train = [item for item in items if item.split == "train"]
    if not train:
        raise UserError(
            f"model {name} is fitted on the training split, and the data have none: give data with training items, as "
            "written by medproof bench build, to medproof run"
        )
    return Majority(train) if name == "majority" else OptionCount(train)
