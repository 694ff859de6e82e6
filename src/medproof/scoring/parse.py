"""Which option a reply chose. The rules of METRICS, in order; the one that fired is stored.

1. `tag`: the content of `<answer>...</answer>`, anywhere in the reply.
2. `boxed`: the content of `\\boxed{...}`.
3. `last_line`: a letter that is or opens the last line ("C", "(C)", "c.", "C) CT"), or follows "answer is" there.
4. `option_text`: lines that are exactly the text of an option, alone, after its letter, or after "answer is".
5. `refusal`: nothing of that, and a sentence that refuses to answer.

Within a rule two different candidates make the reply `unparsed` (`<rule>_conflict`); no later rule is asked. Never a
random option, never the nearest string, never an option's text inside a longer sentence.

Decided here, where the definitions leave it open:

- A tag settles the matter: a letter beyond the options (`tag_no_option`) or words that are no option (`tag_no_match`)
  are `unparsed`. Empty tags and the echoed placeholder "letter" say nothing, and if there is no other tag the later
  rules are asked.
- An `<answer>` that is never closed was cut off: `unparsed` (`tag_unclosed`), whatever follows it, since "C" may be
  the beginning of "Cardiac MRI". After a complete tag it counts only if it contradicts that one.
- A `</answer>` without opening closes an answer that the prompt had opened: the words before it on its line count.
- Rules 2-5 see only what follows the last `</think>`; nothing, if a `<think>` was never closed. In mode
  `think_after` they see what stands outside the thoughts, before or after.
- A chosen option that is itself a refusal ("Cannot be determined") is `abstain`, and `choice` says which.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medproof.records import Mode
from medproof.scoring.candidates import (
    CONFLICT,
    MAX_DECLARED,
    MAX_STRETCH,
    NOTHING,
    Reading,
    combine,
    is_placeholder,
    menu,
    read,
    read_declared,
)
from medproof.scoring.refusal import is_refusal

_TAG = re.compile(r"<\s*answer\s*>((?:(?!<\s*answer\s*>).)*?)<\s*/\s*answer\s*>", re.IGNORECASE | re.DOTALL)
_OPEN = re.compile(r"<\s*answer\s*>", re.IGNORECASE)
_CLOSE = re.compile(r"<\s*/\s*answer\s*>", re.IGNORECASE)
_THOUGHT = re.compile(r"<\s*think\s*>.*?(?:<\s*/\s*think\s*>|$)", re.IGNORECASE | re.DOTALL)
_THINK_OPEN = re.compile(r"<\s*think\s*>", re.IGNORECASE)
_THINK_CLOSE = re.compile(r"<\s*/\s*think\s*>", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\s*\{")


@dataclass(frozen=True)
class Parsed:
    """`choice` indexes the options; with status "abstain" it is set only where a refusal option was chosen."""

    choice: int | None
    status: Literal["chosen", "abstain", "unparsed"]
    rule: str


def parse(text: str, options: Sequence[str], mode: Mode = "direct") -> Parsed:
    """Read a reply as one of `options` (2 to 10 texts, lettered A, B, ... in order), a refusal, or neither."""
    options = tuple(options)
    tagged = _by_tag(text, options)
    if tagged is not None:
        return tagged
    visible = _visible(text, mode)
    boxed = _boxed_contents(visible)
    if boxed:
        reading = combine(read(content, options) for content in boxed)
        return _decide("boxed", reading, options)
    lines = [line for line in visible.splitlines() if line.strip()]
    if not lines:
        return Parsed(None, "unparsed", "none")
    last = _last_line_letter(lines[-1], options)
    if last.kind != "nothing":
        return _decide("last_line", last, options)
    written = _option_texts(lines, options)
    refused = is_refusal("\n".join(line for line in lines if read(line, options).index is None))
    if written.kind != "nothing":
        return _decide("option_text", CONFLICT if refused else written, options)
    return Parsed(None, "abstain", "refusal") if refused else Parsed(None, "unparsed", "none")


def _by_tag(text: str, options: tuple[str, ...]) -> Parsed | None:
    """Rule 1, or None where the reply holds no tag that says anything."""
    contents = [match.group(1) for match in _TAG.finditer(text)]
    cut = _after_last_open(text)
    if not contents:
        if cut is not None:
            return Parsed(None, "unparsed", "tag_unclosed")
        close = _CLOSE.search(text)
        if close is None:
            return None
        before = _THINK_CLOSE.split(text[: close.start()])[-1].rstrip()
        contents = [before.rpartition("\n")[2]]
    read_ones = [(content, read(content, options)) for content in contents]
    readings = [reading for content, reading in read_ones if reading != NOTHING or not is_placeholder(content)]
    if not readings:
        return None
    if cut is not None:
        readings.append(read(cut, options))
    return _decide("tag", combine(readings), options)


def _after_last_open(text: str) -> str | None:
    """What follows an `<answer>` that is never closed; None where the last one is closed."""
    opens = list(_OPEN.finditer(text))
    if not opens or _CLOSE.search(text, opens[-1].end()):
        return None
    return text[opens[-1].end() :]


def _visible(text: str, mode: Mode) -> str:
    """The part of a reply that is not thought."""
    if mode == "think_after":
        return _THOUGHT.sub("\n", text)
    after = _THINK_CLOSE.split(text)[-1]
    return "" if _THINK_OPEN.search(after) else after


def _boxed_contents(text: str) -> list[str]:
    """Contents of the last MAX_DECLARED complete `\\boxed{...}` of at most MAX_STRETCH characters, braces balanced."""
    contents = []
    for match in list(_BOXED.finditer(text))[-MAX_DECLARED:]:
        depth = 1
        for end in range(match.end(), min(len(text), match.end() + MAX_STRETCH)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                contents.append(text[match.end() : end])
                break
    return contents


def _last_line_letter(line: str, options: tuple[str, ...]) -> Reading:
    readings = [read(line, options), *read_declared(line, options)]
    return combine(reading for reading in readings if reading.kind in ("letter", "conflict", "no_option"))


def _option_texts(lines: Sequence[str], options: tuple[str, ...]) -> Reading:
    """Rule 4 over the whole reply and each of its lines."""
    whole = [read("\n".join(lines), options)] if len(lines) > 1 else []
    readings = whole + [read(line, options) for line in lines]
    return combine(reading for reading in readings if reading.exact)


def _decide(rule: str, reading: Reading, options: tuple[str, ...]) -> Parsed:
    if reading.kind == "refusal":
        return Parsed(None, "abstain", rule)
    if reading.index is None:
        reason = {"nothing": "no_match"}.get(reading.kind, reading.kind)
        return Parsed(None, "unparsed", f"{rule}_{reason}")
    status: Literal["chosen", "abstain"] = "abstain" if reading.index in menu(options).refusals else "chosen"
    return Parsed(reading.index, status, rule)
