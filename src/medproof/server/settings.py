"""What a server allows, and who may ask."""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medproof.errors import UserError

TOKENS_VARIABLE = "MEDPROOF_SERVE_TOKENS"
MIN_TOKEN_LENGTH = 16
LOOPBACK = ("127.0.0.1", "::1", "localhost")
ANYONE = "anyone"
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Limits:
    """Bounds of one request and of all of them together."""

    deadline: float = 10.0
    """Seconds from the whole request to its answer, where it names no deadline of its own."""
    max_deadline: float = 60.0
    queue: int = 32
    """Requests accepted and not yet answered."""
    per_minute: int = 120
    """Requests of one client per minute; as many may come at once."""
    body_bytes: int = 8 * 2**20
    body_seconds: float = 10.0
    """To send a whole request, and to send its headers."""
    pixels: int = 2**24
    """Of the picture as sent."""
    connections: int = 256


@dataclass(frozen=True)
class Clients:
    """Bearer tokens by client name. With none, anyone may ask. Tokens appear in no text form of this object."""

    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)

    def name(self, authorization: str | None) -> str | None:
        """Whose token an Authorization header holds; None for nobody's. Takes as long for every wrong token."""
        if not self.tokens:
            return ANYONE
        scheme, _, given = (authorization or "").partition(" ")
        presented = given.strip().encode() if scheme.lower() == "bearer" else b""
        found = None
        for name, token in self.tokens.items():
            if hmac.compare_digest(token.encode(), presented):
                found = name
        return found


def read_clients(file: Path | None, environment: Mapping[str, str] = os.environ) -> Clients:
    """Tokens of a file, or else of the variable MEDPROOF_SERVE_TOKENS.

    One client per line: `name token`; a token alone is called client-1, client-2, ... by its line. Empty lines
    and those that begin with # are skipped. Raises UserError, which never quotes a token.
    """
    if file is None:
        return _clients(environment.get(TOKENS_VARIABLE, "").splitlines(), TOKENS_VARIABLE)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"token file {file} cannot be read ({type(error).__name__}): give a text file") from error
    clients = _clients(lines, str(file))
    if not clients.tokens:
        raise UserError(f"token file {file} holds no token: write one line per client, `name token`")
    return clients


def _clients(lines: Sequence[str], where: str) -> Clients:
    tokens: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        name, token = words if len(words) == 2 else (f"client-{number}", words[0])
        if len(words) > 2 or not _TOKEN.fullmatch(token) or len(token) < MIN_TOKEN_LENGTH:
            raise UserError(
                f"{where}, line {number}: write `name token` with a token of at least {MIN_TOKEN_LENGTH} visible ASCII "
                "characters, as `openssl rand -hex 24` makes"
            )
        if name in tokens or token in tokens.values():
            raise UserError(f"{where}, line {number}: this client or token stands there twice; keep one")
        tokens[name] = token
    return Clients(tokens)


def require_tokens(host: str, clients: Clients) -> None:
    """Raises UserError where others than this machine could ask without a token."""
    if not clients.tokens and host not in LOOPBACK:
        raise UserError(
            f"--host {host} can be reached from other machines: give --tokens FILE (or set {TOKENS_VARIABLE}), "
            "or leave --host out"
        )
