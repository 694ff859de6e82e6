"""Differences between two arms on the same items: interval, exact McNemar, Holm over what a block declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from medproof.records import Item
from medproof.scoring.numbers import Json, bootstrapped, share
from medproof.scoring.paired import holm, mcnemar_p
from medproof.scoring.scored import Scored, counted, is_correct

Flags = Mapping[str, bool]
"""Item id -> whether the event occurred; only the items that were counted."""


def right_under(scored: Scored, condition: str | None) -> dict[str, bool]:
    """Whether each counted item is right; empty where the condition was not run."""
    return {i: is_correct(o) for i, o in counted(scored.outcomes.get(condition or "", {})).items()}


def only(flags: Flags, given: Flags, value: bool = True) -> dict[str, bool]:
    """The items for which `given` is `value`."""
    return {i: flag for i, flag in flags.items() if given.get(i) is value}


def rate(flags: Flags) -> Json:
    """{value, ci95 (Wilson), n}."""
    return share(flags.values())


def contrast(a: Flags, b: Flags, items: Mapping[str, Item], seed: int = 0) -> Json | None:
    """mean(a) - mean(b) over the items that both hold: `value`, `ci95` (cluster bootstrap, one set of resamples), `n`,
    `only_a`, `only_b` (items with the event in one arm alone), `p` (exact McNemar). None where they share no item.
    """
    ids = [i for i in a if i in b]
    if not ids:
        return None
    columns = [[float(a[i]) for i in ids], [float(b[i]) for i in ids]]
    clusters = [items[i].cluster for i in ids]
    result = bootstrapped(columns, {"d": lambda means: means[..., 0] - means[..., 1]}, clusters, seed)["d"]
    only_a, only_b = sum(a[i] and not b[i] for i in ids), sum(b[i] and not a[i] for i in ids)
    return {**result, "only_a": only_a, "only_b": only_b, "p": mcnemar_p(only_a, only_b)}


def add_holm(block: Any) -> int:
    """Put `p_holm` beside every `p` inside `block`: all tests of a block are its declared family. Returns how many."""
    tests = list(_tests(block))
    for test, adjusted in zip(tests, holm([test["p"] for test in tests]), strict=True):
        test["p_holm"] = adjusted
    return len(tests)


def _tests(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        if value.get("p") is not None:
            yield value
        for entry in value.values():
            yield from _tests(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _tests(entry)
