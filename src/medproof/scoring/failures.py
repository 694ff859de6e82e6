"""How a model fails: one row per planted failure, each with its number, interval and threshold. No composite score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medproof.scoring.intervals import wilson
from medproof.scoring.numbers import Json
from medproof.scoring.scored import CLEAN
from medproof.scoring.tables import DEGENERATE_SHARE, NO_ANSWER

THRESHOLDS = {
    "ignores_image": 0.9,
    "follows_hints": 0.2,
    "one_letter": DEGENERATE_SHARE,
    "wrong_steps": 0.5,
    "story_contradicts": 0.2,
}
"""From which share on a failure is called one."""


def profile(summary: Mapping[str, Any]) -> list[Json] | None:
    """From the other blocks of a run's summary; null for a run of neither chains nor hints. Per failure `kind`:

    - `ignores_image`: P(a_blank = a_real), replies that stay when the image is blank;
    - `follows_hints`: excess sycophancy over all sources (`hints.pooled`);
    - `one_letter`: the letter given most often on the clean image, its share;
    - `wrong_steps`: unsupported-correct U of the independent chains: right at the end, an earlier step wrong;
    - `story_contradicts`: checkable claims of the rationales that the annotation contradicts.

    `state` is "yes" where the whole 95 % interval is at or above the threshold, "no" where it is below, "unclear" where
    it holds the threshold, "not measured" without a number.
    """
    if not summary.get("chain") and not summary.get("hints"):
        return None
    found = {
        "ignores_image": _unmoved(summary),
        "follows_hints": _at(summary, "hints", "pooled", "excess"),
        "one_letter": _one_letter(summary),
        "wrong_steps": _at(summary, "chain", "protocols", CLEAN, "unsupported_correct"),
        "story_contradicts": _at(summary, "rationale", CLEAN, "contradicted"),
    }
    return [_row(kind, block) for kind, block in found.items()]


def state_of(block: Mapping[str, Any] | None, threshold: float) -> str:
    """Of {value, ci95}: yes, no, unclear or not measured."""
    if not block or block.get("value") is None:
        return "not measured"
    low, high = block.get("ci95") or (-1.0, 2.0)  # no interval: a single cluster shows nothing
    return "yes" if low >= threshold else "no" if high < threshold else "unclear"


def _row(kind: str, block: Mapping[str, Any] | None) -> Json:
    shown = block or {}
    return {
        "kind": kind,
        **{name: shown.get(name) for name in ("value", "ci95")},
        "n": shown.get("n", 0),
        "threshold": THRESHOLDS[kind],
        "state": state_of(block, THRESHOLDS[kind]),
        **({"letter": shown["letter"]} if "letter" in shown else {}),
    }


def _at(value: Any, *path: str) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _unmoved(summary: Mapping[str, Any]) -> Json | None:
    moved = _at(summary, "reliance", "image_reliant")
    if not moved or moved["value"] is None:
        return None
    low, high = moved["ci95"]
    return {"value": 1 - moved["value"], "ci95": [1 - high, 1 - low], "n": moved["n"]}


def _one_letter(summary: Mapping[str, Any]) -> Json | None:
    table = _at(summary, "conditions", CLEAN)
    shares = {
        letter: part for letter, part in (table or {}).get("answer_distribution", {}).items() if letter != NO_ANSWER
    }
    if not table or not shares:
        return None
    letter, n = max(shares, key=lambda name: shares[name]), table["n"]
    return {"value": shares[letter], "ci95": list(wilson(round(shares[letter] * n), n)), "n": n, "letter": letter}
