"""Listen until told to stop, then answer what was accepted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from medproof.errors import UserError
from medproof.server.app import create_app
from medproof.server.service import Service

_KEEP_ALIVE = 5
_MAX_HEADERS = 32 * 1024


def serve(service: Service, host: str, port: int, ready: Callable[[str], None], note: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. From then on new requests get 503 and /readyz says so; once the last accepted one
    is answered, the process ends. A second signal ends it at once. `ready` is given the address once it listens, `note`
    what happened when it ends. Port 0 takes a free one. Raises UserError where the port is taken."""
    config = uvicorn.Config(
        create_app(service),
        host=host,
        port=port,
        http=_protocol(service.limits.body_seconds),
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        limit_concurrency=service.limits.connections,
        timeout_keep_alive=_KEEP_ALIVE,
        h11_max_incomplete_event_size=_MAX_HEADERS,
    )
    sock = _bind(host, port)
    service.warm_up()
    service.worker.start()
    try:
        _Server(config, service, lambda: ready(_address(sock))).run(sockets=[sock])
    finally:
        service.worker.close()
        service.audit.close()
        note(f"{service.accepted} questions accepted, {service.answered} answered")


class _Server(uvicorn.Server):
    """Drains before it stops listening, so that whoever asks for readiness sees why."""

    def __init__(self, config: uvicorn.Config, service: Service, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service, self._ready = service, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._service.draining:
            self.should_exit = self.force_exit = True
        self._service.draining = True

    async def on_tick(self, counter: int) -> bool:
        if self._service.draining and self._service.open == 0:
            self.should_exit = True
        return await super().on_tick(counter)


def _protocol(seconds: float) -> type[H11Protocol]:
    """HTTP/1.1 that waits so long for a request's headers; uvicorn itself would wait for ever."""

    class Impatient(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._expect_headers()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._expect_headers()

        def _expect_headers(self) -> None:
            self.loop.call_later(seconds, self._give_up, self.cycle)

        def _give_up(self, last: object) -> None:
            if self.cycle is last and not self.transport.is_closing():
                self.transport.close()

    return Impatient


def _bind(host: str, port: int) -> socket.socket:
    """Before anything is started, and with an error in one line."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except (OSError, OverflowError) as error:
        sock.close()
        raise UserError(f"cannot listen on {host}, port {port} ({error}): give another --port or --host") from error
    return sock


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
