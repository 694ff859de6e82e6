"""What the splits share, and what an image's origin gives away."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from medproof.datasets.audit.cues import NO_TRAIN, chance_of
from medproof.datasets.audit.model import Balance, GroupShortcut, PatientOverlap, SourceShortcut
from medproof.records import LETTERS, Item
from medproof.scoring.text_prior import normal_form

EXAMPLES = 10
_REPOSITORY = re.compile(r"^([^:\s]+/[^:\s]+):")


def patient_overlap(test: Sequence[Item], train: Sequence[Item]) -> PatientOverlap:
    """Patients of the test split that training holds too."""
    in_test = {item.patient for item in test if item.patient is not None}
    in_train = {item.patient for item in train if item.patient is not None}
    if not train:
        return PatientOverlap(test_patients=len(in_test), reason="no training split")
    if not in_test or not in_train:
        side = "test" if not in_test else "training"
        return PatientOverlap(
            test_patients=len(in_test),
            train_patients=len(in_train),
            reason=f"the {side} items name no patients",
        )
    shared = in_test & in_train
    return PatientOverlap(
        test_patients=len(in_test),
        train_patients=len(in_train),
        shared=len(shared),
        test_items=sum(item.patient in shared for item in test),
        examples=tuple(sorted(shared)[:EXAMPLES]),
    )


def source_name(item: Item) -> str:
    """Where the image comes from: `owner/name` of an `owner/name:path`, else the whole source."""
    match = _REPOSITORY.match(item.source)
    return match.group(1) if match else item.source


Votes = Mapping[tuple[str, ...], Counter[str]]


def source_shortcut(test: Sequence[Item], train: Sequence[Item]) -> SourceShortcut:
    """Predict each answer from modality, question type and source, and again without the source.

    Question groups that training does not hold are left out.
    """
    if not train:
        return SourceShortcut(reason=NO_TRAIN)
    sources = {source_name(item) for item in (*test, *train)} - {""}
    if len(sources) < 2:
        return SourceShortcut(sources=len(sources), reason="the items name fewer than two sources")
    votes: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for item in train:
        group = (item.modality, item.question_type)
        votes[group][normal_form(item.answer)] += 1
        votes[(*group, source_name(item))][normal_form(item.answer)] += 1
    hits: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for item in test:
        group = (item.modality, item.question_type)
        if group not in votes:
            continue
        pair = (_vote(item, votes, (*group, source_name(item)), group), _vote(item, votes, group))
        hits[" / ".join(group)].append(pair)
    everything = [pair for pairs in hits.values() for pair in pairs]
    if not everything:
        return SourceShortcut(
            sources=len(sources), reason="training holds none of the question groups of the test split"
        )
    overall = _shares(everything)
    return SourceShortcut(
        accuracy=overall.accuracy,
        baseline=overall.baseline,
        gain=overall.accuracy - overall.baseline,
        n=overall.n,
        sources=len(sources),
        by_group={name: _shares(hits[name]) for name in sorted(hits)},
    )


def _vote(item: Item, votes: Votes, *groups: tuple[str, ...]) -> bool:
    """Whether the option most often right in the first group that knows any of them is the answer."""
    for group in groups:
        counts = votes.get(group, Counter())
        best = max(item.options, key=lambda option: counts[normal_form(option)])
        if counts[normal_form(best)]:
            return best == item.answer
    return item.options[0] == item.answer


def _shares(pairs: Sequence[tuple[bool, bool]]) -> GroupShortcut:
    n = len(pairs)
    return GroupShortcut(accuracy=sum(a for a, _ in pairs) / n, baseline=sum(b for _, b in pairs) / n, n=n)


def balance(test: Sequence[Item]) -> dict[str, Balance]:
    """Per question type: how many answers there are, and how uneven they and their letters are."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in test:
        groups[item.question_type].append(item)
    return {name: _balance(groups[name]) for name in sorted(groups)}


def _balance(items: Sequence[Item]) -> Balance:
    answers = Counter(normal_form(item.answer) for item in items)
    letters = Counter(item.answer_letter for item in items)
    top = max(sorted(answers), key=lambda answer: answers[answer])
    return Balance(
        n=len(items),
        answers=len(answers),
        top_answer=top,
        top_share=answers[top] / len(items),
        chance=chance_of(items) or 0.0,
        letters={letter: letters[letter] / len(items) for letter in LETTERS if letters[letter]},
    )
