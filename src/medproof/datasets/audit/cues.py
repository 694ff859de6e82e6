"""Ways of answering from the text alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Literal

from medproof.datasets.audit.model import Cue, NeverCorrectCue, TextPriorCue
from medproof.records import LETTERS, Item
from medproof.scoring.intervals import wilson
from medproof.scoring.text_prior import TextPrior, normal_form

NO_TRAIN = "no training split: fitting on the questions that are scored would be circular; give --train"


def chance_of(items: Sequence[Item]) -> float | None:
    """Mean of 1/K over the items; None of none."""
    return sum(1 / len(item.options) for item in items) / len(items) if items else None


def measure(items: Sequence[Item], pick: Callable[[Item], str | None], otherwise: str) -> Cue:
    """Accuracy of `pick` on the items for which it names an option; `otherwise` is the reason if there are none."""
    picked = [(item, pick(item)) for item in items]
    applicable = [(item, option) for item, option in picked if option is not None]
    if not applicable:
        return Cue(reason=otherwise)
    hits = sum(option == item.answer for item, option in applicable)
    n = len(applicable)
    return Cue(
        accuracy=hits / n,
        ci95=wilson(hits, n),
        n=n,
        coverage=n / len(items),
        chance=chance_of([item for item, _ in applicable]),
    )


def text_prior(test: Sequence[Item], train: Sequence[Item], *, pooled: bool = False) -> TextPriorCue:
    """Option-count tables fitted on `train` and measured on `test`: one per modality, or one for all (`pooled`)."""
    fit: Literal["per modality", "pooled"] = "pooled" if pooled else "per modality"
    if not train:
        return TextPriorCue(fit=fit, reason=NO_TRAIN)
    priors = {"": TextPrior.fit(train)} if pooled else _fit_each(train)

    def predict(item: Item) -> str | None:
        prior = priors.get("" if pooled else item.modality)
        return None if prior is None else prior.predict(item)

    by_modality = {
        modality: measure(items, predict, "no training items of this modality")
        for modality, items in _by_modality(test).items()
    }
    measured = [cue.accuracy for cue in by_modality.values() if cue.accuracy is not None]
    overall = measure(test, predict, "no modality of the test split has training items")
    return TextPriorCue(
        **overall.model_dump(),
        fit=fit,
        mean_over_modalities=sum(measured) / len(measured) if measured else None,
        by_modality=by_modality,
    )


def _fit_each(train: Sequence[Item]) -> dict[str, TextPrior]:
    return {modality: TextPrior.fit(items) for modality, items in _by_modality(train).items()}


def _by_modality(items: Sequence[Item]) -> dict[str, list[Item]]:
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.modality].append(item)
    return dict(sorted(groups.items()))


def letter_prior(test: Sequence[Item], train: Sequence[Item]) -> Cue:
    """Always the letter that was right most often in training; wrong where an item has no such letter."""
    if not train:
        return Cue(reason=NO_TRAIN)
    counts = Counter(item.answer_letter for item in train)
    index = LETTERS.index(max(sorted(counts), key=lambda letter: counts[letter]))
    return measure(test, lambda item: item.options[index] if index < len(item.options) else "", "no test items")


def longest_option(test: Sequence[Item]) -> Cue:
    """The option with the most characters, where there is exactly one."""
    return measure(test, _longest, "no question has one longest option")


def _longest(item: Item) -> str | None:
    length = max(map(len, item.options))
    longest = [option for option in item.options if len(option) == length]
    return longest[0] if len(longest) == 1 else None


def full_stop(test: Sequence[Item]) -> Cue:
    """The only option that ends with a full stop."""
    return measure(test, _with_full_stop, "no question has exactly one option that ends with a full stop")


def _with_full_stop(item: Item) -> str | None:
    stopped = [option for option in item.options if option.rstrip().endswith(".")]
    return stopped[0] if len(stopped) == 1 else None


def never_correct(test: Sequence[Item], train: Sequence[Item]) -> NeverCorrectCue:
    """What is left after excluding options that training offered and never confirmed, per modality."""
    if not train:
        return NeverCorrectCue(reason=NO_TRAIN)
    offered = {(item.modality, normal_form(option)) for item in train for option in item.options}
    confirmed = {(item.modality, normal_form(item.answer)) for item in train}
    refuted = offered - confirmed

    def left(item: Item) -> list[str]:
        return [option for option in item.options if (item.modality, normal_form(option)) not in refuted]

    def last(item: Item) -> str | None:
        options = left(item)
        return options[0] if len(options) == 1 else None

    cue = measure(test, last, "exclusion never leaves exactly one option")
    remaining = [(item, left(item)) for item in test]
    distractors = sum(len(item.options) - 1 for item in test)
    removed = sum(len(item.options) - len(options) - (item.answer not in options) for item, options in remaining)
    # With every option excluded the cue says nothing: chance.
    expected = [
        (item.answer in options) / len(options) if options else 1 / len(item.options) for item, options in remaining
    ]
    return NeverCorrectCue(
        **cue.model_dump(),
        distractors_excluded=removed / distractors if distractors else None,
        answers_excluded=sum(item.answer not in options for item, options in remaining),
        expected_accuracy=sum(expected) / len(expected) if expected else None,
    )
