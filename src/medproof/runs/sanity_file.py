"""sanity.json of a run: what its attacks were checked for, and with what verdict."""

import json
from pathlib import Path
from typing import Any

from medproof.errors import UserError
from medproof.runs.atomic import write_bytes

NAME = "sanity.json"


def write_sanity(run: Path, content: dict[str, Any]) -> Path:
    """Write it whole and return its path."""
    path = run / NAME
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode())
    return path


def read_sanity(run: Path) -> dict[str, Any] | None:
    """None where the run was never checked. Raises UserError where the file is damaged."""
    path = run / NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): delete it and run with --sanity again") from error
    if not isinstance(content, dict) or not isinstance(content.get("checks"), list):
        raise UserError(f"{path} is no list of checks: delete it and run with --sanity again")
    return content
