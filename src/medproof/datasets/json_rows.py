"""Lists of JSON rows from .json and .json.gz files."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from medproof.errors import UserError


def read_rows(path: Path) -> list[Any]:
    """The list in `path`. Raises UserError where the file is unreadable, no JSON, or no list of at least one row."""
    try:
        data = path.read_bytes()
        if path.name.endswith(".gz"):
            data = gzip.decompress(data)
        rows = json.loads(data.decode("utf-8-sig"))
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {path}: {error}; check the file") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}; check the file") from error
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path} holds no list of question rows: give a Med-R1 or OmniMedVQA JSON file")
    return rows
