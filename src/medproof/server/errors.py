"""Refusals in the shape that OpenAI clients read, one line each."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

_KINDS = {401: "authentication_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error"}


class ApiError(Exception):
    """A request that gets no answer. `code` is for programs, the message for people."""

    def __init__(
        self, status: int, code: str, message: str, *, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param
        self.message = " ".join(message.split())
        self.headers: Mapping[str, str] = {} if retry_after is None else {"retry-after": str(retry_after)}
        if status == 401:
            self.headers = {"www-authenticate": "Bearer"}

    @property
    def body(self) -> dict[str, Any]:
        kind = _KINDS.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def trace(error: BaseException) -> str:
    """Type and place of an error for the log. Not its message, which might quote a question."""
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}".rstrip()


def invalid(error: ValidationError) -> ApiError:
    """The first thing that is wrong with a body, without quoting it."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])[:100]
    if first["type"] == "json_invalid":
        return ApiError(400, "invalid_json", f"the body is no JSON: {first['msg']}")
    more = f" (and {error.error_count() - 1} more problems)" if error.error_count() > 1 else ""
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        reason = "this field is not supported; leave it out"
    return ApiError(400, "invalid_request", f"{where or 'body'}: {reason}{more}"[:400], param=where or None)
