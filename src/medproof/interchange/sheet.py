"""The reading sheet: one HTML file that asks people what models are asked. It holds no answer, no path and no id that
could tell one, makes no request, and hands the answers back as a CSV for `reader`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from medproof.datasets import Dataset
from medproof.evaluation.images import Pixels
from medproof.images.png import encode_png
from medproof.records import LETTERS, Item, pixels_sha256
from medproof.report.page import script_json
from medproof.seeds import derive_seed

CANNOT_TELL = "cannot tell"
COLUMNS = ("sheet", "item", "answer")


def sheet_id(data: Dataset) -> str:
    """16 hex digits over all questions of a sheet, whatever their order: the same in every row of its answers."""
    return data.fingerprint[:16]


def row_id(item: Item) -> str:
    """16 hex digits over everything of the item: says which question it is, and nothing to who reads it."""
    return item.fingerprint()[:16]


def sheet_html(data: Dataset, load: Callable[[Item], Pixels]) -> str:
    """The page for the items of `data`, in an order drawn from its seed, so that steps of a case do not follow each
    other. Pictures stand in it as PNG in their stored size, each once. The same data give the same text.
    """
    numbers: dict[str, int] = {}
    pictures: list[str] = []
    rows = []
    for item in sorted(data.items, key=lambda item: derive_seed(data.seed, item.id, "sheet")):
        pixels = load(item)
        sha = pixels_sha256(pixels)
        if sha not in numbers:
            numbers[sha] = len(pictures)
            pictures.append(base64.b64encode(encode_png(pixels)).decode())
        options = list(item.options)
        rows.append({"id": row_id(item), "question": item.question, "options": options, "picture": numbers[sha]})
    content = {
        "sheet": sheet_id(data),
        "rows": rows,
        "letters": LETTERS,
        "columns": COLUMNS,
        "cannotTell": CANNOT_TELL,
    }
    return (
        _environment()
        .get_template("sheet.html.j2")
        .render(
            n=len(rows),
            content=script_json(content),
            pictures=script_json(pictures),
            css=_asset("css"),
            js=_asset("js"),
        )
    )


@cache
def _environment() -> Environment:
    loader = PackageLoader("medproof.interchange", "templates")
    return Environment(loader=loader, autoescape=True, trim_blocks=True, undefined=StrictUndefined)


def _asset(kind: str) -> Markup:
    """A file of ours, to stand unescaped in <style> or <script>."""
    loader = _environment().loader
    assert loader is not None
    return Markup(loader.get_source(_environment(), f"sheet.{kind}")[0])
