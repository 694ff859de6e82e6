"""The image-blind baseline: how often was each option text the right answer in the training split?

METRICS, Acc_textprior: score (R + 0.5) / (R + W + 2), where R and W count how often an option text was offered and
right, offered and wrong, in training. Texts are lower-cased and lose a final full stop or comma. The question is not
read at all, let alone the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from medproof.errors import UserError
from medproof.records import Item


def normal_form(option: str) -> str:
    """Lower case, outer blanks and final full stops and commas removed."""
    return option.strip().lower().rstrip("., ")


@dataclass(frozen=True)
class TextPrior:
    """A table of option texts: normal form -> (times right R, times wrong W)."""

    counts: Mapping[str, tuple[int, int]]
    n_fitted: int

    @classmethod
    def fit(cls, items: Iterable[Item]) -> TextPrior:
        """Count every option of every item. The caller passes training items only: nothing here looks at `split`."""
        right: dict[str, int] = {}
        wrong: dict[str, int] = {}
        n = 0
        for item in items:
            n += 1
            answer = item.answer_index
            for index, option in enumerate(item.options):
                table = right if index == answer else wrong
                text = normal_form(option)
                table[text] = table.get(text, 0) + 1
        texts = sorted(right.keys() | wrong.keys())
        return cls({text: (right.get(text, 0), wrong.get(text, 0)) for text in texts}, n)

    def score(self, option: str) -> float:
        """(R + 0.5) / (R + W + 2), in (0, 1); 0.25 for a text never seen."""
        right, wrong = self.counts.get(normal_form(option), (0, 0))
        return (right + 0.5) / (right + wrong + 2)

    def predict(self, item: Item) -> str:
        """The option of highest score; of equal scores, the one that comes first."""
        return max(item.options, key=self.score)

    def correct(self, items: Iterable[Item]) -> list[bool]:
        """Per item, whether the prediction is the answer."""
        return [self.predict(item) == item.answer for item in items]

    def accuracy(self, items: Iterable[Item]) -> float:
        """Share of items predicted right, in [0, 1]. Raises UserError where there is none."""
        hits = self.correct(items)
        if not hits:
            raise UserError("the text prior has no item to be measured on: give it a non-empty test split")
        return sum(hits) / len(hits)
