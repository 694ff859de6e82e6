"""Does the reasoning hold? What a rationale states, held against the annotations of its item.

A lexical measure, made for short rationales: a statement is the mention of a value that some item of the run is
annotated with. It does not understand negation or doubt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from medproof.records import Item
from medproof.scoring.candidates import combine, read_declared
from medproof.scoring.numbers import Json, bootstrapped, share
from medproof.scoring.scored import Scored, counted

KINDS = ("modality", "region", "finding", "side", "count", "conclusion")
"""What may be annotated; `side` is read from the fact "where"."""
_NAMED = ("modality", "region", "finding")
_THOUGHT = re.compile(r"<\s*think\s*>(.*?)(?:<\s*/\s*think\s*>|$)", re.IGNORECASE | re.DOTALL)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n")
_SIDE = re.compile(r"\b(?:left|right|upper|lower|centre)\b")
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER = re.compile(rf"\b(?:\d+|{'|'.join(_NUMBERS)})\b")


@dataclass(frozen=True)
class Vocabulary:
    """values: by kind every value that an item is annotated with, case-folded. names: finds any of them, of two that
    overlap the longer one, so that "malignant breast lesion" is no mention of the breast."""

    values: Mapping[str, frozenset[str]]
    names: re.Pattern[str]

    @classmethod
    def of(cls, items: Iterable[Item]) -> Vocabulary:
        found: dict[str, set[str]] = {kind: set() for kind in _NAMED}
        for item in items:
            for kind in found.keys() & item.facts.keys():
                found[kind].add(item.facts[kind].casefold())
        longest_first = sorted(set().union(*found.values()), key=lambda name: (-len(name), name))
        names = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)" if longest_first else r"(?!)")
        return cls({kind: frozenset(values) for kind, values in found.items()}, names)


@dataclass(frozen=True)
class Statements:
    """judged: of every annotated kind True where the rationale states it and nothing else of that kind, False where it
    states something else, None where it says nothing. option: index of the one that it concludes with, if any."""

    judged: Mapping[str, bool | None]
    option: int | None

    def share(self, verdict: bool) -> float:
        """Of the annotated kinds."""
        return sum(value is verdict for value in self.judged.values()) / len(self.judged)


def thought(text: str) -> str:
    """What stands between the thinking tags of a reply; of one that was cut off, what there is. Empty without tags."""
    return "\n".join(match.strip() for match in _THOUGHT.findall(text))


def statements(item: Item, rationale: str, known: Vocabulary) -> Statements:
    """Read a rationale. Sentences with "the answer is ..." are read for the conclusion, the others for the rest."""
    sentences = [sentence for sentence in _SENTENCE_END.split(rationale) if sentence.strip()]
    ends = [read_declared(sentence, item.options) for sentence in sentences]
    body = " ".join(sentence for sentence, end in zip(sentences, ends, strict=True) if not end).casefold()
    names = frozenset(known.names.findall(body))
    said = {kind: names & values for kind, values in known.values.items()}
    said["side"] = frozenset(_SIDE.findall(body))
    said["count"] = frozenset(map(_digits, _NUMBER.findall(body)))
    judged = {kind: said[kind] == value if said[kind] else None for kind, value in _facts(item).items()}
    option = combine(reading for end in ends for reading in end).index
    right = item.facts.get("conclusion", item.answer)
    return Statements({**judged, "conclusion": None if option is None else item.options[option] == right}, option)


def reasoning(scored: Scored, condition: str, known: Vocabulary, seed: int = 0) -> Json:
    """How the rationales of one condition hold up, over the items counted there.

    - `tokens`: mean length of a reply; `parsed`: share of replies with a readable answer;
    - `agreement`: mean over items of the share of their annotated facts that the rationale states rightly, so that what
      it leaves out counts against it; `contradicted`: of the share that it states otherwise; by cluster bootstrap;
    - `by_kind`: per kind the share of the items annotated with it whose rationale states it rightly;
    - `answers_so`: of the replies that conclude and choose, the share that choose what they concluded.
    """
    outcomes = counted(scored.outcomes[condition])
    replies = {item_id: scored.responses[condition][item_id] for item_id in outcomes}
    told = {item_id: statements(scored.items[item_id], thought(r.text), known) for item_id, r in replies.items()}
    columns = {
        "tokens": [float(reply.completion_tokens) for reply in replies.values()],
        "agreement": [found.share(True) for found in told.values()],
        "contradicted": [found.share(False) for found in told.values()],
    }
    clusters = [scored.items[item_id].cluster for item_id in outcomes]
    means = {
        name: bootstrapped([column], {"mean": lambda means: means[..., 0]}, clusters, seed)["mean"]
        for name, column in columns.items()
    }
    return {
        **means,
        "parsed": share(outcome.status != "unparsed" for outcome in outcomes.values()),
        "by_kind": {
            kind: share(found.judged[kind] is True for found in told.values() if kind in found.judged)
            for kind in KINDS
            if any(kind in found.judged for found in told.values())
        },
        "answers_so": share(
            scored.items[item_id].options[found.option] == outcomes[item_id].chosen
            for item_id, found in told.items()
            if found.option is not None and outcomes[item_id].chosen is not None
        ),
    }


def _facts(item: Item) -> dict[str, frozenset[str]]:
    """What is annotated, in the form in which statements are read."""
    facts = {kind: frozenset({item.facts[kind].casefold()}) for kind in _NAMED if kind in item.facts}
    if sides := _SIDE.findall(item.facts.get("where", "").casefold()):
        facts["side"] = frozenset(sides)
    if "count" in item.facts:
        facts["count"] = frozenset({_digits(item.facts["count"].casefold())})
    return facts


def _digits(word: str) -> str:
    return str(_NUMBERS.index(word)) if word in _NUMBERS else word
