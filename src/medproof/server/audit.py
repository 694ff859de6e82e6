"""The audit log: one JSON line per request to /v1, on disk before its answer is sent."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from medproof.errors import UserError


@dataclass
class AuditLine:
    """What is kept of one request. Hashes, never pixels, words or tokens; the question only if the operator asked."""

    id: str
    route: str
    client: str | None = None
    status: int = 0
    error: str | None = None
    seconds: float = 0.0
    upload_sha256: str | None = None
    image_sha256: str | None = None
    question_sha256: str | None = None
    question: str | None = None
    options: int | None = None
    letter: str | None = None
    abstain: bool | None = None
    same_as_blank: bool | None = None
    radius: float | None = None
    n: int | None = None
    counts: list[int] | None = None
    seed: str | None = None
    stopped: str | None = None
    sigma: float | None = None
    alpha: float | None = None
    plan: str | None = None
    bound: str | None = None
    weights_sha256: str | None = None
    processor_sha256: str | None = None


class AuditLog:
    """Appends lines to a file; without one it keeps nothing. Once a line could not be written, `working` is False."""

    def __init__(self, path: Path | None) -> None:
        self.working = True
        self._lock = threading.Lock()
        self._file: IO[str] | None = None
        if path is not None:
            try:
                self._file = path.open("a", encoding="utf-8")
            except OSError as error:
                raise UserError(f"audit log {path} cannot be written ({error.strerror}): give another file") from error

    def write(self, line: AuditLine) -> bool:
        """Append one line, with the time in UTC; fields that are None are left out. False where that failed."""
        if self._file is None:
            return True
        known = {key: value for key, value in asdict(line).items() if value is not None}
        text = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **known}, ensure_ascii=False)
        try:
            with self._lock:
                self._file.write(text + "\n")
                self._file.flush()
            self.working = True
        except (OSError, ValueError):
            self.working = False
        return self.working

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
