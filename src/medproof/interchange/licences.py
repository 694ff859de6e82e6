"""Licence texts of items as the identifiers that registries know."""

from __future__ import annotations

import re
from collections.abc import Iterable

from medproof.records import Item

_CC = re.compile(r"^CC BY(-NC)?(-SA)?(-ND)?(?: (\d\.\d))?", re.IGNORECASE)
_STARTS = (("cc0", "cc0-1.0"), ("mit", "mit"), ("apache-2.0", "apache-2.0"), ("bsd-3", "bsd-3-clause"))
_PAGES = {
    "cc0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "mit": "https://spdx.org/licenses/MIT.html",
    "apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "bsd-3-clause": "https://spdx.org/licenses/BSD-3-Clause.html",
}


def identifier(text: str) -> str:
    """As Hugging Face writes it ("cc-by-4.0", "mit"), read from how the text begins; "other" for what is not known."""
    found = _CC.match(text.strip())
    if found:
        parts = ["cc-by", *(part.lower().strip("-") for part in found.group(1, 2, 3) if part), found.group(4) or "4.0"]
        return "-".join(parts)
    low = text.strip().lower()
    return next((name for start, name in _STARTS if low.startswith(start)), "other")


def identifiers(items: Iterable[Item]) -> list[str]:
    """Of all items, each once, sorted."""
    return sorted({identifier(item.license) for item in items})


def page(text: str) -> str:
    """The licence's page where it has one, else its text, else "not stated"."""
    name = identifier(text)
    if name.startswith("cc-by"):
        kind, _, version = name.removeprefix("cc-").rpartition("-")
        return f"https://creativecommons.org/licenses/{kind}/{version}/"
    return _PAGES.get(name, text or "not stated")


def pages(items: Iterable[Item]) -> list[str]:
    """Of all items, each once, sorted."""
    return sorted({page(item.license) for item in items})
