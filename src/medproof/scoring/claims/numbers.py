"""Counts, sizes and grades: the claims that hold a number."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from medproof.scoring.claims.terms import Term

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5"}
MANY = ">1"
"""The value of "several"."""

_NUMBER = rf"\d{{1,3}}|{'|'.join(WORDS)}"
_MANY = "multiple|several|numerous|many|innumerable|a few"
_COUNT = re.compile(
    rf"(?<![\w./,%+-])(?P<n>{_NUMBER}|{_MANY}|a single|single|solitary|a solitary|a pair of)"
    r"(?![\w/%-]|\.\d|\s*(?:mm|cm|x|×|of|to|or|out|%|per|-|–)\b|\s*%)"
)
_BEFORE = re.compile(
    r"\b(?:grade|stage|type|class|score|category|rads|level|slice|figure|image|case|step|option|no\.|than|eps)\s*$"
)
_GAP_WORDS = re.compile(
    r"(?:[\s,]+(?!(?:is|are|in|of|on|with|and|or|at|the|a|an|side|lung|image)\b)[\w-]+){0,4}[\s]+$|\s+$"
)
_IN_NUMBER = re.compile(rf"\b(?P<n>{_NUMBER}) in number\b")
_TOTAL = re.compile(
    rf"\b(?:counts?|number)(?: of (?P<what>[\w -]+?))?(?: is|:| =| are| was)\s*(?P<n>{_NUMBER})(?![\w/%]|\.\d)"
)

_MM = {"mm": 1.0, "cm": 10.0, "millimetre": 1.0, "millimeter": 1.0, "centimetre": 10.0, "centimeter": 10.0}
_UNIT = r"(?:mm|cm|millimet(?:re|er)|centimet(?:re|er))s?"
_DECIMAL = r"\d+(?:\.\d+)?"
_SIZE = re.compile(
    rf"(?P<bound>less than|more than|below|above|under|over|up to|at least|greater than|smaller than|<|>|≤|≥)?\s*"
    rf"(?<![\w./-])(?P<low>{_DECIMAL})\s*(?P<first>{_UNIT})?"
    rf"(?:\s*(?P<join>to|-|–|and|x|×|by)\s*(?P<high>{_DECIMAL}))?(?:\s*{_UNIT})?(?:\s*(?:x|×|by)\s*(?P<third>{_DECIMAL}))?"
    rf"[\s-]*(?:(?P<unit>{_UNIT})\b|(?P<share>%|percent|per cent)\s+of\s+(?:the\s+)?(?:whole\s+|entire\s+)?"
    r"(?:image|picture|frame|field))"
)
_NO_SIZE = re.compile(
    r"\b(?:slices?|sections?|spacing|thickness|margin|from|within|(?:grown|increased|decreased|shrunk) by)\b"
    r"[^,;]{0,12}$"
)
_NO_SIZE_AFTER = re.compile(
    r"^[\s-]*(?:thick|slices?|sections?|spacing|resolution|above|below|from|away|distance|apart)\b"
)

_GRADE = re.compile(
    r"\bgrade\s+(?P<grade>[1-5]|i{1,3}|iv|v)\b|\bstage\s+(?P<stage>[1-4]|i{1,3}|iv)(?:[abc])?\b"
    r"|\b(?P<scale>bi-?rads|ti-?rads|li-?rads|pi-?rads|lung-?rads)(?:\s+(?:category|score))?[\s:-]*(?P<rads>[0-6])[abcx]?\b"
    r"|\bgleason(?:\s+(?:score|grade))?(?: of)?\s+(?P<gleason>\d{1,2}(?:\s*\+\s*\d)?)"
    r"|\b(?P<level>high|low)[\s-]grade\b"
    r"|\b(?P<nature>benign|malignant|malignancy(?!:)|benignity)\b"
    r"|\basymmetric(?:al)? in (?P<axes>one|two|both) ax[ei]s\b|\b(?P<symmetric>symmetric(?:al)?)\b"
)


def counts(lower: str, terms: Sequence[Term]) -> Iterator[tuple[int, int, str, str | None]]:
    """(start, end, value, what is counted): a number before the name of a finding, or after "count" or "number of"."""
    things = [term for term in terms if term.kind == "finding"]
    starts = {term.start: term for term in things}
    for match in _COUNT.finditer(lower):
        thing = next((starts[start] for start in sorted(starts) if start >= match.end()), None)
        if (
            thing is None
            or _BEFORE.search(lower, 0, match.start())
            or any(t.start <= match.start() < t.end for t in terms)
        ):
            continue
        between = [t for t in terms if match.end() <= t.start < thing.start]
        if not between and _GAP_WORDS.fullmatch(lower, match.end(), thing.start):
            yield match.start(), match.end(), _count(match["n"]), thing.value
    for match in _IN_NUMBER.finditer(lower):
        what = next((term.value for term in reversed(things) if term.start < match.start()), None)
        yield match.start(), match.end(), _count(match["n"]), what
    for match in _TOTAL.finditer(lower):
        # "number of platelets: 2", "platelet count: 2"
        what = next((t.value for t in things if match.start() <= t.end + 1 and t.start < match.end()), None)
        yield match.start("n"), match.end("n"), _count(match["n"]), what


def sizes(lower: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, value): "12 mm" (of several dimensions the largest), "10-20 mm", "<10 mm", "2-8 %", ..."""
    for match in _SIZE.finditer(lower):
        if _NO_SIZE.search(lower, 0, match.start("low")) or _NO_SIZE_AFTER.match(lower[match.end() :]):
            continue
        factor = 1.0 if match["share"] else _MM[match["unit"].rstrip("s")]
        first = _MM[match["first"].rstrip("s")] if match["first"] and not match["share"] else factor
        numbers = [float(match["low"]) * first] + [
            float(match[name]) * factor for name in ("high", "third") if match[name]
        ]
        unit = "%" if match["share"] else "mm"
        sign = {"l": "<", "b": "<", "u": "<", "s": "<", "<": "<", "≤": "<"}.get((match["bound"] or " ")[0], ">")
        if match["join"] in ("to", "-", "–", "and"):
            value = f"{numbers[0]:g}-{numbers[1]:g} {unit}"
        else:
            value = f"{sign if match['bound'] else ''}{max(numbers):g} {unit}"
        yield match.start("low"), match.end(), value


def grades(lower: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, value): "grade 2", "stage 3", "BI-RADS 4", "Gleason 7", "high grade", "benign", "symmetric", ..."""
    for match in _GRADE.finditer(lower):
        if match["grade"]:
            value = f"grade {_ROMAN.get(match['grade'], match['grade'])}"
        elif match["stage"]:
            value = f"stage {_ROMAN.get(match['stage'], match['stage'])}"
        elif match["rads"]:
            name = match["scale"].replace("-", "").removesuffix("rads")
            value = f"{name.upper() if len(name) == 2 else name.capitalize()}-RADS {match['rads']}"
        elif match["gleason"]:
            value = f"Gleason {sum(map(int, match['gleason'].split('+')))}"
        elif match["level"]:
            value = f"{match['level']} grade"
        elif match["nature"]:
            value = "malignant" if match["nature"].startswith("malig") else "benign"
        elif match["axes"]:
            value = f"asymmetric in {'one axis' if match['axes'] == 'one' else 'two axes'}"
        else:
            value = "symmetric"
        yield match.start(), match.end(), value


def interval(size: str) -> tuple[float, float, str]:
    """A size value as (low, high, unit)."""
    number, unit = size.split(" ")
    if number[0] == "<":
        return 0.0, float(number[1:]), unit
    if number[0] == ">":
        return float(number[1:]), float("inf"), unit
    low, _, high = number.partition("-")
    return float(low), float(high or low), unit


def _count(word: str) -> str:
    if word in WORDS:
        return str(WORDS.index(word))
    if word.isdigit():
        return str(int(word))
    return MANY if re.fullmatch(_MANY, word) else "2" if "pair" in word else "1"
