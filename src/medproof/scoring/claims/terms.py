"""Finds the names of the lexicon in a sentence: from left to right, the longest name that begins at a word."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from medproof.scoring.claims.lexicon import CASED, entries, plurals

_WORD = re.compile(r"\w+")
_GAP = re.compile(r"[\s-]+")


@dataclass(frozen=True)
class Term:
    """One mention. kind: "modality", "view", "region" or "finding"."""

    start: int
    end: int
    kind: str
    value: str


@dataclass(frozen=True)
class Scanner:
    """known: kind and value by name, words one blank apart. longest: by first word, the words of its longest name."""

    known: dict[str, tuple[str, str]]
    longest: dict[str, int]

    def scan(self, sentence: str, lower: str) -> list[Term]:
        """sentence: as written; lower: the same in lower case, of the same length."""
        words = [match.span() for match in _WORD.finditer(lower)]
        found, place = [], 0
        while place < len(words):
            length = self._match(sentence, lower, words, place)
            if length:
                start, end = words[place][0], words[place + length - 1][1]
                found.append(Term(start, end, *self.known[_GAP.sub(" ", lower[start:end])]))
            place += max(length, 1)
        return found

    def _match(self, sentence: str, lower: str, words: list[tuple[int, int]], place: int) -> int:
        """The number of words of the longest name that begins at a word; 0 for none. "non-CT" is no CT."""
        start, end = words[place]
        most = self.longest.get(lower[start:end], 0)
        if not most or lower[start - 1 : start] in ("-", "/"):
            return 0
        for length in range(min(most, len(words) - place), 0, -1):
            written = _GAP.sub(" ", sentence[start : words[place + length - 1][1]])
            if written.lower() in self.known and (written.upper() not in CASED or written in CASED):
                return length
        return 0


@lru_cache(maxsize=4096)
def scanner(names: tuple[str, ...] = ()) -> Scanner:
    """names: findings beyond the lexicon, each its own value."""
    base = None if not names else scanner()
    listed: Iterable[tuple[str, str, str]] = ((name, "finding", name) for name in names) if names else entries()
    known, longest = ({}, {}) if base is None else (dict(base.known), dict(base.longest))
    for name, kind, value in listed:
        for form in plurals(" ".join(_WORD.findall(name.lower()))):
            known.setdefault(form, (kind, value))
            first, length = form.split(" ")[0], form.count(" ") + 1
            longest[first] = max(longest.get(first, 0), length)
    return Scanner(known, longest)
