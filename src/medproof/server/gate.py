"""What every request to /v1 passes before anything of it is read, and after it is answered."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medproof.server.audit import AuditLine
from medproof.server.errors import ApiError, trace
from medproof.server.service import Service, new_id
from medproof.server.settings import LOOPBACK

log = logging.getLogger("medproof.server")
SECURITY_HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
ROUTES = ("/v1/answer", "/v1/chat/completions", "/v1/models")
_DISCARD = 4  # times the largest body: so much is read and thrown away, so that the client gets to see the refusal


class _ClientGoneError(Exception):
    """The client left before its request was whole."""


class _UnloggedError(Exception):
    """No answer without its line in the audit log."""


class Gate:
    """ASGI middleware: who asks, how often, how much and how slowly; then the audit line and the metrics.

    The inner app gets a body that is whole and bounded, and in `scope["state"]` the audit line.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(raw=message.setdefault("headers", [])).update(SECURITY_HEADERS)
            await send(message)

        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            await self._checked(scope, receive, send_safely)
        else:
            await self._app(scope, receive, send_safely)

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = time.monotonic()
        line = AuditLine(new_id(), scope["path"] if scope["path"] in ROUTES else "other")
        scope.setdefault("state", {})["line"] = line

        status = 499  # the client left

        def seconds() -> float:
            return round(time.monotonic() - begun, 3)

        async def send_logged(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                MutableHeaders(raw=message["headers"])["x-request-id"] = line.id
                line.status, line.seconds = message["status"], seconds()
                if not self._service.audit.write(line):
                    raise _UnloggedError
                status = message["status"]
            await send(message)

        try:
            body = await self._body(scope, receive, line)
            await self._app(scope, _replay(body), send_logged)
        except ApiError as error:
            line.error = error.code
            await respond(error, scope, receive, send_logged)
        except _ClientGoneError:
            line.status, line.seconds = status, seconds()
            self._service.audit.write(line)
        except _UnloggedError:
            log.error("the audit log cannot be written; no request is answered until it can")
            status = 503
            refusal = ApiError(503, "unavailable", "not available: the audit log cannot be written", retry_after=5)
            await respond(refusal, scope, receive, send)
        except Exception as error:  # its 500 has been sent; its message might quote the request
            log.error("%s failed: %s", line.route, trace(error))
        finally:
            self._service.metrics.request(line.route, status, seconds())

    async def _body(self, scope: Scope, receive: Receive, line: AuditLine) -> bytes:
        """The whole body of a request that may ask. Raises ApiError, or _ClientGoneError."""
        headers, limits = Headers(scope=scope), self._service.limits
        line.client = self._service.clients.name(headers.get("authorization"))
        if line.client is None:
            raise ApiError(401, "invalid_token", "send a valid token: Authorization: Bearer ...")
        if not self._service.clients.tokens and _host(headers.get("host", "")) not in LOOPBACK:
            raise ApiError(403, "wrong_host", "without tokens this server answers to localhost only")
        if wait := self._service.rates.take(line.client):
            message = f"more than {limits.per_minute} requests a minute; wait {wait} s"
            raise ApiError(429, "rate_limit_exceeded", message, retry_after=wait)
        if scope["method"] == "POST" and headers.get("content-type", "").split(";")[0].strip() != "application/json":
            raise ApiError(415, "invalid_content_type", "send JSON, with Content-Type: application/json")
        try:
            async with asyncio.timeout(limits.body_seconds):
                return await _read(receive, limits.body_bytes)
        except TimeoutError as error:
            message = f"the request was not whole after {limits.body_seconds:g} s"
            raise ApiError(408, "request_timeout", message) from error


async def _read(receive: Receive, bound: int) -> bytes:
    """Raises ApiError 413 beyond `bound` bytes, after having thrown the rest away; _ClientGoneError if it leaves."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientGoneError
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size <= bound:
            parts.append(part)
            continue
        parts.clear()
        if size > _DISCARD * bound:
            break
    if size > bound:
        raise ApiError(413, "request_too_large", f"the request is larger than {bound} bytes; send a smaller picture")
    return b"".join(parts)


def _replay(body: bytes) -> Receive:
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _host(header: str) -> str:
    """Without port and brackets: a page of another name that leads here (DNS rebinding) is not answered."""
    name = header.rsplit(":", 1)[0] if not header.endswith("]") and ":" in header else header
    return name.strip("[]").lower()


async def respond(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a refusal."""
    await JSONResponse(error.body, error.status, headers=dict(error.headers))(scope, receive, send)
