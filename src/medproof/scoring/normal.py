"""Plain forms in which a reply and an option are compared: equal or not, never near."""

from __future__ import annotations

import re
import unicodedata

_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "\u00a0": " "})
_EMPHASIS = re.compile(r"[*`$]+|__+")
_LATEX = re.compile(r"\\(?:boxed|text(?:bf|it|rm)?|mathrm|mathbf)\s*\{([^{}]*)\}")


def tidy(text: str) -> str:
    """Unicode compatibility form, straight quotes, single blanks, nothing at the ends. Case is kept."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    return " ".join(text.split())


def folded(text: str) -> str:
    """`tidy`, case-folded, without outer quotes and final stops, commas, semicolons."""
    return tidy(text).casefold().strip("\"'` ").rstrip(".,; ").strip("\"'` ")


def plain(text: str) -> str:
    """Markdown emphasis and the LaTeX wrappers of an answer taken off, line ends and case kept."""
    while True:
        unwrapped = _LATEX.sub(r"\1", text)
        if unwrapped == text:
            return _EMPHASIS.sub("", text)
        text = unwrapped
