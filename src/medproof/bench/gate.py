"""The blind gate: what can be answered from the text alone?

Two classifiers read question and options but no image, both cross-validated on the set by cluster (a patient is never
on both sides): the option counts of METRICS (`scoring.text_prior`), and a naive Bayes over word n-grams of the option,
their pairs with words of the question, the option's place, length and numbers. A third figure is the text prior as it
is met in use: option counts of the training items, measured on the test items.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from medproof.records import Item
from medproof.scoring.text_prior import TextPrior
from medproof.seeds import derive_seed

FOLDS = 5
_WORD = re.compile(r"[^\W_]+")
Blind = Callable[[Item], str]


@dataclass(frozen=True)
class Gate:
    """Blind accuracies in [0, 1], None where they cannot be measured: the last one without training or test items.

    `n` items, `chance` the mean of 1/K over them; `test_n`, `test_chance` of the test items alone.
    """

    n: int
    chance: float
    option_count: float | None
    ngram: float | None
    test_n: int
    test_chance: float | None
    text_prior: float | None

    @property
    def excess(self) -> float:
        """By how much the best blind reader beats chance."""
        cross = max((value for value in (self.option_count, self.ngram) if value is not None), default=self.chance)
        prior = 0.0 if self.text_prior is None or self.test_chance is None else self.text_prior - self.test_chance
        return max(cross - self.chance, prior)


def measure(items: Sequence[Item]) -> Gate:
    """All blind figures of a set of items. Raises ValueError of none."""
    test = [item for item in items if item.split == "test"]
    train = [item for item in items if item.split == "train"]
    return Gate(
        n=len(items),
        chance=_chance(items),
        option_count=cross_validated(items, lambda fit: TextPrior.fit(fit).predict),
        ngram=cross_validated(items, lambda fit: NGrams(fit).predict),
        test_n=len(test),
        test_chance=_chance(test) if test else None,
        text_prior=TextPrior.fit(train).accuracy(test) if train and test else None,
    )


def blind_hits(items: Sequence[Item], fit: Callable[[Sequence[Item]], Blind]) -> list[bool]:
    """Per item, whether a reader fitted on the other folds is right. Empty with fewer than two clusters."""
    clusters = sorted({item.cluster for item in items}, key=lambda name: (derive_seed(0, name, "fold"), name))
    if len(clusters) < 2:
        return []
    fold_of = {name: number % FOLDS for number, name in enumerate(clusters)}
    hits: dict[str, bool] = {}
    for fold in range(min(FOLDS, len(clusters))):
        reader = fit([item for item in items if fold_of[item.cluster] != fold])
        hits |= {item.id: reader(item) == item.answer for item in items if fold_of[item.cluster] == fold}
    return [hits[item.id] for item in items]


def cross_validated(items: Sequence[Item], fit: Callable[[Sequence[Item]], Blind]) -> float | None:
    """Accuracy of `blind_hits`; None with fewer than two clusters."""
    hits = blind_hits(items, fit)
    return sum(hits) / len(hits) if hits else None


class NGrams:
    """Naive Bayes: the sum over an option's features of log P(feature | right) / P(feature | wrong), add-half."""

    def __init__(self, items: Sequence[Item]) -> None:
        right: Counter[str] = Counter()
        wrong: Counter[str] = Counter()
        n_right = n_wrong = 0
        for item in items:
            for index, option in enumerate(item.options):
                of_right = option == item.answer
                (right if of_right else wrong).update(features(item, index))
                n_right, n_wrong = n_right + of_right, n_wrong + (not of_right)
        self.weights = {
            name: math.log((right[name] + 0.5) / (n_right + 1)) - math.log((wrong[name] + 0.5) / (n_wrong + 1))
            for name in sorted(right.keys() | wrong.keys())
        }

    def predict(self, item: Item) -> str:
        """The option of highest score; of equal scores the first."""
        scores = [
            sum(self.weights.get(name, 0.0) for name in features(item, index)) for index in range(len(item.options))
        ]
        return item.options[scores.index(max(scores))]


def features(item: Item, index: int) -> tuple[str, ...]:
    """Of option `index`: its text, words and word pairs, each also with every word of the question; place, length."""
    return _features(item.question, item.options, index)


@lru_cache(maxsize=100_000)
def _features(question: str, options: tuple[str, ...], index: int) -> tuple[str, ...]:
    option = options[index].casefold()
    words = _WORD.findall(option)
    numbers = [f"number {place} {int(word) // 250}" for place, word in enumerate(words) if word.isdecimal()]
    grams = {option, *words, *(" ".join(pair) for pair in pairwise(words))}
    asked = set(_WORD.findall(question.casefold()))
    return (
        f"place {index} of {len(options)}",
        f"longest {len(option) == max(map(len, options))}",
        f"length {len(option) // 4}",
        *numbers,
        *sorted(grams),
        *sorted(f"{word} ? {gram}" for gram in grams for word in asked),
    )


def pools(items: Sequence[Item], pool_of: Mapping[str, str]) -> dict[str, list[Item]]:
    """Items by the name of their pool, names sorted. pool_of: by item id."""
    found: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        found[pool_of[item.id]].append(item)
    return dict(sorted(found.items()))


def _chance(items: Sequence[Item]) -> float:
    if not items:
        raise ValueError("no items: nothing to be right about")
    return sum(1 / len(item.options) for item in items) / len(items)
