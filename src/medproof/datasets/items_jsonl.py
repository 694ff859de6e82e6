"""Items as JSON lines, one record per line: Medproof's own format."""

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from medproof.datasets.paths import refuse_escape
from medproof.datasets.quarantine import Quarantined, explain
from medproof.errors import UserError
from medproof.records import Item


def write_items(path: Path, items: Iterable[Item]) -> None:
    """Write canonical JSON lines, atomically: same items, same bytes. Raises UserError where the disk refuses."""
    data = "".join(item.to_json() + "\n" for item in items).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; free space or choose another place") from error


def read_items(path: Path) -> tuple[list[Item], list[Quarantined]]:
    """Items in file order, and bad lines with number and reason; a repeated id is a bad line.

    Raises UserError where the file cannot be read, is empty, or names an image outside its root.
    """
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the file") from error
    items: dict[str, Item] = {}
    quarantined: list[Quarantined] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            item = _read_item(line)
            if item.id in items:
                raise ValueError(f"id {item.id!r} occurs twice")
            items[item.id] = item
        except ValueError as error:
            quarantined.append(Quarantined(f"{path.name}:{number}", explain(error)))
    if not items and not quarantined:
        raise UserError(f"{path} is empty: write items to it, one JSON record per line")
    return list(items.values()), quarantined


def _read_item(line: str) -> Item:
    data = json.loads(line)
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")
    refuse_escape(data.get("image"))
    return Item.from_json(line)
