"""Rows set aside: never fatal to a run, never silent."""

import json
from dataclasses import dataclass

from pydantic import ValidationError


@dataclass(frozen=True)
class Quarantined:
    """A row that was set aside. `where` is "file:line" or "file[index]"; `reason` is one line."""

    where: str
    reason: str


def explain(error: ValueError) -> str:
    """One line for a person: pydantic's first complaint with its field, or the message itself."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        return f"{place}: {message}" if place else message
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} at column {error.colno}"
    return " ".join(str(error).split())
