"""From a text to its claims."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from medproof.scoring.candidates import combine, read_declared
from medproof.scoring.claims.claim import Claim, Kind
from medproof.scoring.claims.context import SENTENCE_END, Context, Span, context, inside
from medproof.scoring.claims.numbers import counts, grades, sizes
from medproof.scoring.claims.sides import sides
from medproof.scoring.claims.terms import Term, scanner

MAX_SENTENCE = 1000
"""Characters read of one sentence, so that a reply caught in a loop costs no more."""

_STRAIGHT = str.maketrans({"’": "'", "‘": "'", "\u00a0": " ", "\u202f": " ", "\u2010": "-", "\u2011": "-"})
_CONCLUDES = re.compile(
    r"\b(?:(?:final |most likely |likeliest |best )?(?:diagnosis|impression|conclusion|answer|assessment)"
    r"\s*(?:is\b|:|would be\b)|(?:in conclusion|to conclude|we conclude|therefore|thus|hence"
    r"|i (?:would |will )?(?:choose|conclude|select|pick|go (?:with|for)))\b)"
)
_DENIED_OPTION = re.compile(r"\b(?:not|cannot be|isn't|rather than|unlikely)\b")
_NEAR = re.compile(
    r"\b(?:adjacent to|near|next to|close to|reach(?:es|ing)?|behind|below|above|from|invad\w+|abut\w*)\s+(?:the\s+)?$"
)
_NOT_IT = re.compile(r"\b(?:not|isn't|rather than|instead of|unlike)\b(?:(?!\bbut\b)[^,;]){0,18}$")
_WHOLE = (
    r"image|scan|study|radiograph|film|examination|exam|ultrasound|sonogram|ct|mri|x-ray|tissue|chest|lungs?|breast|brain"
    r"|fundus|retina|macula|skin|lung fields?|mammogram|appearance|slice|section|smear|case"
)
_NORMAL = re.compile(
    rf"\b(?P<plain>(?:normal|unremarkable|healthy)\s+(?:[a-z]+\s+)?(?:{_WHOLE})\b)"
    rf"|\b(?:{_WHOLE})(?: tissue| fields?)? (?:is|are|appears?|looks?|was|were)(?P<un> not)?(?: \w+ly)?"
    r" (?P<said>normal|unremarkable|clear|healthy)\b"
    r"|(?:^|: )(?P<alone>normal|unremarkable|no findings?)\s*\.?$|\bno (?P<none>\w+ )?findings?\b|\bnothing abnormal\b"
    r"|\bfinding present: no\b"
)


def claims(text: str, options: Sequence[str] = (), names: tuple[str, ...] = ()) -> tuple[Claim, ...]:
    """The claims of `text`, in the order in which they stand.

    options: of the question, among which a conclusion is looked for; a sentence that reaches one is read for nothing
    else. names: findings that the lexicon may not know, in lower case.
    """
    found: list[Claim] = []
    text = text.translate(_STRAIGHT)
    start = 0
    for end in [*SENTENCE_END.finditer(text), None]:
        stop = len(text) if end is None else end.start()
        sentence = text[start:stop]
        if sentence.strip():
            concluded = _conclusion(sentence, tuple(options)) if options else ()
            read = concluded or _sentence(sentence[:MAX_SENTENCE], names)
            found += [replace(claim, start=claim.start + start, end=claim.end + start) for claim in read]
        start = stop if end is None else end.end()
    return tuple(found)


@lru_cache(maxsize=65_536)
def _conclusion(sentence: str, options: tuple[str, ...]) -> tuple[Claim, ...]:
    """ "The answer is ..." as the parser of replies reads it; else the one option named behind words that conclude."""
    declared = combine(read_declared(sentence, options)).index
    if declared is not None:
        return (Claim("conclusion", options[declared], 0, len(sentence)),)
    cue = _CONCLUDES.search(sentence.lower())
    if cue is None or _DENIED_OPTION.search(sentence.lower(), cue.end()):
        return ()
    named = _options_named(sentence.lower(), cue.end(), options)
    if len(named) != 1:
        return ()
    return (Claim("conclusion", options[named[0][1]], named[0][0], len(sentence)),)


def _options_named(lower: str, start: int, options: tuple[str, ...]) -> list[tuple[int, int]]:
    """(place, index) of the options in lower[start:]; one inside another, longer one does not count."""
    hits = []
    for index, option in enumerate(options):
        match = re.compile(rf"(?<!\w){re.escape(option.lower())}(?!\w)").search(lower, start)
        if match:
            hits.append((match.start(), match.end(), index))
    return [(a, index) for a, b, index in hits if not any(c <= a and b <= d and (c, d) != (a, b) for c, d, _ in hits)]


def _lower(text: str) -> str:
    """Lower case of the same length."""
    return text.lower() if text.isascii() else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


@lru_cache(maxsize=65_536)
def _sentence(sentence: str, names: tuple[str, ...]) -> tuple[Claim, ...]:
    lower = _lower(sentence)
    terms = scanner(names).scan(sentence, lower)
    consumed = tuple((term.start, term.end) for term in terms if term.kind == "view")
    around = context(lower, consumed, tuple(term.start for term in terms if term.kind == "finding"))
    found = [*_named(lower, terms, around), *_numbers(lower, terms, around), *_normal(lower, terms, around)]
    return tuple(sorted(found, key=lambda claim: (claim.start, claim.end)))


def _named(lower: str, terms: Sequence[Term], around: Context) -> Iterator[Claim]:
    for term in terms:
        span, hedged = (term.start, term.end), inside(term.start, around.doubted)
        if term.kind == "finding":
            denied = inside(term.start, around.denied)
            if denied and inside(term.start, around.further):
                continue
            where = _denied_where(lower, term, terms, around) if denied else None
            yield Claim("finding", term.value, *span, not denied, hedged, where)
        elif term.kind == "modality" or term.kind == "view":
            kind: Kind = "modality" if term.kind == "modality" else "view"
            yield Claim(kind, term.value, *span, not _NOT_IT.search(lower, 0, term.start), hedged)
        elif not _NEAR.search(lower, 0, term.start):
            yield Claim("region", term.value, *span, not _NOT_IT.search(lower, 0, term.start), hedged)


def _denied_where(lower: str, finding: Term, terms: Sequence[Term], around: Context) -> str | None:
    start, end = around.clause(finding.start)
    place = next((value for a, _, value in sides(lower) if start <= a < end and value != "both"), None)
    region = next((t.value for t in terms if t.kind == "region" and start <= t.start < end), None)
    return place or region


def _numbers(lower: str, terms: Sequence[Term], around: Context) -> Iterator[Claim]:
    things = [term for term in terms if term.kind == "finding"]
    for start, end, number, thing in counts(lower, terms):
        # "zero nodules" denies them: the finding says so already
        if number != "0":
            yield Claim("count", number, start, end, *_said(start, around), thing)
    for start, end, size in sizes(lower):
        yield Claim("size", size, start, end, *_said(start, around), _about(start, things, (), around))
    for start, end, grade in grades(lower):
        yield Claim("grade", grade, start, end, *_said(start, around))
    regions = [term for term in terms if term.kind == "region"]
    for start, end, side in sides(lower):
        eye = any(term.value == "eye" and term.start <= end + 1 <= term.end for term in regions)
        about = "eye" if eye else _about(start, things, regions, around)
        yield Claim("side", side, start, end, *_said(start, around), about)


def _said(place: int, around: Context) -> tuple[bool, bool]:
    """(positive, hedged) at a place."""
    return not inside(place, around.denied), inside(place, around.doubted)


def _about(place: int, things: Sequence[Term], regions: Sequence[Term], around: Context) -> str | None:
    """Of the same clause the finding before, else the one behind; else the last one before; else the region."""
    clause: Span = around.clause(place)
    here = [term for term in things if clause[0] <= term.start < clause[1]]
    before = [term for term in here if term.start < place]
    earlier = [term for term in things if term.start < place]
    ordered = [*before[-1:], *here[:1], *earlier[-1:], *(t for t in regions if clause[0] <= t.start < clause[1])]
    return ordered[0].value if ordered else None


def _normal(lower: str, terms: Sequence[Term], around: Context) -> Iterator[Claim]:
    """ "Normal" of the whole image, "no finding": no abnormality."""
    for match in _NORMAL.finditer(lower):
        if match["none"] and match["none"].strip() in ("other", "further", "additional", "new"):
            continue
        word = next((name for name in ("said", "alone", "plain") if match[name]), None)
        start = match.start(word) if word else match.start()
        denied = bool(match["un"]) or (word == "plain" and inside(start, around.denied))
        region = next((t.value for t in terms if t.kind == "region" and match.start() <= t.start < match.end()), None)
        yield Claim("finding", "abnormality", start, match.end(), denied, inside(start, around.doubted), region)
