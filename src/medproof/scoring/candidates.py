"""Reads one short stretch of a reply (the content of a tag, a line) as at most one of the options."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from medproof.records import LETTERS
from medproof.scoring.normal import folded, plain, tidy
from medproof.scoring.refusal import is_refusal, is_refusal_option

Kind = Literal["letter", "text", "refusal", "conflict", "no_option", "nothing"]


@dataclass(frozen=True)
class Reading:
    """What a stretch of text says. `index` is set for "letter" and "text"; `exact`: an option's full text was there.

    "conflict": two different candidates; "no_option": a letter beyond the options; "nothing": no candidate at all.
    """

    kind: Kind
    index: int | None = None
    exact: bool = False


NOTHING = Reading("nothing")
CONFLICT = Reading("conflict")
NO_OPTION = Reading("no_option")
REFUSAL = Reading("refusal")

_LETTER = r"[\(\[\{]?\s*([A-Ja-j])"
_BARE = re.compile(rf"^{_LETTER}\s*[\)\]\}}]?\s*[.:,;!]*$")
_BRACKET_REST = re.compile(rf"^{_LETTER}\s*(?:[\)\]\}}]\s*|\s*:\s*|\.\s+|\s*[-–—=]\s+)(\S.*)$")
_TIGHT_REST = re.compile(rf"^{_LETTER}(\s+|\s*[.,]\s*)(\S.*)$")
_AND = r"(?:,|/|&|\band\b|\bor\b)\s*(?:or\s+|and\s+)?"
_LIST = re.compile(rf"^{_LETTER}[\)\]]?(?:\s*{_AND}[\(\[]?[A-Ja-j][\)\]]?)+[.!]*$")
_LIST_LETTER = re.compile(r"(?<![A-Za-z])([A-Ja-j])(?![A-Za-z])")
_ARGUED = re.compile(r"^(?:because|since|as|which|is (?:the )?(?:correct|right|best|most likely)\b)")
_RIVAL_LETTER = re.compile(r"(?:^|(?<=[\s,;/]))[\(\[]?[A-J][\)\]:]|^(?:or|and|/|&)\s")
_LETTER_LINE = re.compile(r"^\s*([A-Ja-j])[ \t]*\n")
_DECLARED = re.compile(
    r"\b(?:answer|option|choice)\b\s*(?:(?:is|would be|should be|must be)\b)?\s*"
    r"(?:(?:therefore|thus|hence|most likely|likely|probably|clearly|option|choice|letter)\b\s*)*[:=\-]*\s*",
    re.IGNORECASE,
)
_LETTERS = LETTERS + LETTERS.lower()
MAX_DECLARED = 32
MAX_STRETCH = 2000
_PLACEHOLDERS = frozenset({"", "letter", "...", "…", "x", "your answer", "answer", "answer here", "option letter"})


@dataclass(frozen=True)
class Menu:
    """The options of one question in the forms they are compared in."""

    folded: tuple[str, ...]
    loose: tuple[str, ...]
    literal: tuple[str, ...]
    refusals: frozenset[int]


@lru_cache(maxsize=65_536)
def menu(options: tuple[str, ...]) -> Menu:
    """The compared forms of `options`, cached: one question is parsed under many conditions."""
    return Menu(
        folded=tuple(folded(option) for option in options),
        loose=tuple(folded(plain(option)) for option in options),
        literal=tuple(tidy(option).casefold() for option in options),
        refusals=frozenset(i for i, option in enumerate(options) if is_refusal_option(option)),
    )


def read(content: str, options: Sequence[str]) -> Reading:
    """One candidate: the text of an option, a letter in one of its written forms, a declared answer, or a refusal."""
    direct = _read_letter_or_text(content, options)
    if direct.kind != "nothing":
        return direct
    declared = combine(read_declared(content, options))
    if declared.kind != "nothing":
        return declared
    return REFUSAL if is_refusal(content) else NOTHING


def read_declared(line: str, options: Sequence[str]) -> list[Reading]:
    """What follows "answer is", "Answer:", "option", "choice" in a line, read as letter or text.

    Of a reply caught in a loop the last MAX_DECLARED places, MAX_STRETCH characters each, so that time stays bounded.
    """
    line = plain(line)
    places = [match.end() for match in _DECLARED.finditer(line)][-MAX_DECLARED:]
    return [_read_letter_or_text(line[place : place + MAX_STRETCH], options) for place in places]


def is_placeholder(content: str) -> bool:
    """An empty tag, or one that echoes the instruction ("letter")."""
    return folded(content) in _PLACEHOLDERS


def combine(readings: Iterable[Reading]) -> Reading:
    """One reading out of several: those that say nothing are ignored; two different ones are a conflict."""
    said = [reading for reading in readings if reading.kind != "nothing"]
    if not said:
        return NOTHING
    if any(reading.kind == "conflict" for reading in said):
        return CONFLICT
    meanings = {reading.index if reading.index is not None else reading.kind for reading in said}
    if len(meanings) > 1:
        return CONFLICT
    return next((reading for reading in said if reading.exact), said[0])


def _read_letter_or_text(content: str, options: Sequence[str]) -> Reading:
    stripped = content.strip()
    if len(stripped) == 1 and stripped in _LETTERS and stripped.casefold() not in menu(tuple(options)).folded:
        return _letter(stripped, options)  # by far the most frequent reply
    whole = _match_text(content, options)
    if whole.kind == "conflict":
        return whole
    letter = _read_letter(content, options)
    if whole.kind == "text":
        bare_or_exact = letter.exact or _BARE.match(tidy(plain(content))) is not None
        return combine([whole, letter]) if bare_or_exact and letter.index is not None else whole
    return letter


def _match_text(content: str, options: Sequence[str]) -> Reading:
    """Equality with an option's text: to the letter first, then without final stop, then without emphasis."""
    forms = menu(tuple(options))
    for said, offered in (
        (tidy(content).casefold(), forms.literal),
        (folded(content), forms.folded),
        (folded(plain(content)), forms.loose),
    ):
        if not said:
            return NOTHING
        hits = [index for index, text in enumerate(offered) if text == said]
        if hits:
            return Reading("text", hits[0], exact=True) if len(hits) == 1 else CONFLICT
    return NOTHING


def _read_letter(content: str, options: Sequence[str]) -> Reading:
    # A letter alone on its first line is set apart by the line end, which `tidy` would take away.
    text = tidy(plain(_LETTER_LINE.sub(r"\1) ", content)))
    bare = _BARE.match(text)
    if bare:
        return _letter(bare.group(1), options)
    if _LIST.match(text):
        return combine(_letter(letter, options) for letter in _LIST_LETTER.findall(text))
    apart = _BRACKET_REST.match(text)
    if apart:
        return _letter_with_rest(apart.group(1), apart.group(2), options)
    tight = _TIGHT_REST.match(text)
    if tight:
        return _letter_without_bracket(tight.group(1), tight.group(2), tight.group(3), options)
    return NOTHING


def _letter(letter: str, options: Sequence[str]) -> Reading:
    index = LETTERS.index(letter.upper())
    return Reading("letter", index) if index < len(options) else NO_OPTION


def _letter_with_rest(letter: str, rest: str, options: Sequence[str]) -> Reading:
    """`C) ...`: the letter stands, unless the rest names another option, another letter, or refuses."""
    reading = _letter(letter, options)
    if reading.index is None:
        return reading
    named = _match_text(rest, options)
    if named.kind == "nothing":  # "C). CT"; tried second, since an option may begin with a sign, as "-5 HU"
        rest = rest.lstrip(".:,- ")
        named = _match_text(rest, options)
    if named.kind == "text":
        return Reading("letter", reading.index, exact=True) if named.index == reading.index else CONFLICT
    if named.kind == "conflict" or _RIVAL_LETTER.search(rest) or is_refusal(rest):
        return CONFLICT
    words = f" {_words(rest)} "
    own = f" {_words(options[reading.index])} " in words
    rival = any(f" {_words(option)} " in words for i, option in enumerate(options) if i != reading.index)
    return CONFLICT if rival and not own else reading


def _letter_without_bracket(letter: str, gap: str, rest: str, options: Sequence[str]) -> Reading:
    """`C CT`, `C, because ...`: only with the option's own text or a reason, else "A large mass" would be answer A."""
    reading = _letter(letter, options)
    if reading.index is None:
        return NOTHING
    named = _match_text(rest, options)
    if named.kind == "text" and named.index == reading.index:
        return Reading("letter", reading.index, exact=True)
    if letter.isupper() and (_ARGUED.match(rest) or "," in gap):
        return _letter_with_rest(letter, rest, options)
    if named.kind == "text" and letter.isupper() and letter != "A":
        return CONFLICT
    return NOTHING


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", folded(text)))
