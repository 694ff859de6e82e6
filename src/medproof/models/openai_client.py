"""Requests to an OpenAI-compatible server: rate, concurrency, retries, and the key that no text may hold. No torch."""

import email.utils
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import httpx

from medproof.errors import UserError
from medproof.runs.redact import HIDDEN, redact
from medproof.seeds import rng

KEYS = ("MEDPROOF_API_KEY", "OPENAI_API_KEY")
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_HOPELESS = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""Codes of a 429 that waiting does not change."""
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0  # seconds
_LONGEST_ASKED = 300.0
"""The longest Retry-After that is waited for, in seconds."""
_SECRET_LENGTH = 8
"""A shorter key is a placeholder of a local server ("EMPTY"); hiding it would eat letters of replies."""


@dataclass(frozen=True)
class Settings:
    """How a server is asked. `read` takes them from the environment.

    concurrency: requests at a time. per_minute: requests a minute; 0: no limit. timeout: seconds for one request.
    retries: further attempts after the first. max_tokens: of a reply; None: the default of the mode.
    prices: US dollars per million prompt and completion tokens; None: tokens are counted, money is not.
    omit: fields left out of every request, for servers that refuse them (temperature, top_p, seed).
    """

    concurrency: int = 4
    per_minute: float = 0.0
    timeout: float = 120.0
    retries: int = 5
    max_tokens: int | None = None
    prices: tuple[float, float] | None = None
    omit: tuple[str, ...] = ()

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """From MEDPROOF_API_CONCURRENCY, _PER_MINUTE, _TIMEOUT, _RETRIES, _MAX_TOKENS, _PRICES (two numbers with a
        comma) and _OMIT (names with commas). Raises UserError for what is no such number."""

        def number(name: str, default: float, least: float) -> float:
            text = environment.get(f"MEDPROOF_API_{name}", "").strip()
            return default if not text else _number(f"MEDPROOF_API_{name}", text, least)

        most = int(number("MAX_TOKENS", 0, 1))
        prices = [part for part in environment.get("MEDPROOF_API_PRICES", "").split(",") if part.strip()]
        if len(prices) not in (0, 2):
            raise UserError("MEDPROOF_API_PRICES is two numbers with a comma: dollars per million tokens in and out")
        numbers = [_number("MEDPROOF_API_PRICES", part, 0) for part in prices]
        return cls(
            concurrency=int(number("CONCURRENCY", cls.concurrency, 1)),
            per_minute=number("PER_MINUTE", cls.per_minute, 0),
            timeout=number("TIMEOUT", cls.timeout, 0.001),
            retries=int(number("RETRIES", cls.retries, 0)),
            max_tokens=most or None,
            prices=(numbers[0], numbers[1]) if numbers else None,
            omit=tuple(p.strip() for p in environment.get("MEDPROOF_API_OMIT", "").split(",") if p.strip()),
        )


def key_of(environment: Mapping[str, str]) -> str | None:
    """The key, from the first of KEYS that is set; a local server may need none. Raises UserError where it is none."""
    for name in KEYS:
        if key := environment.get(name, "").strip():
            if not (key.isascii() and key.isprintable()):
                raise UserError(f"{name} holds characters that no key has: set it again")
            return key
    return None


class RefusedError(Exception):
    """The server will not answer this prompt (its content filter); the message says why."""


class Gate:
    """Lets requests pass one by one, `per_minute` at most, and none before a pause is over. Shared by threads."""

    def __init__(self, per_minute: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._clock, self._sleep = clock, sleep
        self._next = -math.inf
        self._lock = threading.Lock()

    def enter(self) -> None:
        """Wait for the next free place."""
        with self._lock:
            place = max(self._clock(), self._next)
            self._next = place + self._gap
        if (wait := place - self._clock()) > 0:
            self._sleep(wait)

    def pause(self, seconds: float) -> None:
        """Nobody enters for so long."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)


class Client:
    """POSTs JSON to one URL. Safe to call from threads; forks and copies are not."""

    def __init__(
        self,
        url: str,
        settings: Settings,
        key: str | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        host = httpx.URL(url).host
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # A server of this machine is not looked for behind a proxy.
        self._http = httpx.Client(
            headers=headers,
            timeout=settings.timeout,
            trust_env=not _is_local(host),
            limits=httpx.Limits(max_connections=settings.concurrency),
        )
        self._url, self._settings, self._key = url, settings, key
        self._places = threading.BoundedSemaphore(settings.concurrency)
        self._gate = Gate(settings.per_minute, clock, sleep)
        self._sleep = sleep
        self._hopeless: str | None = None

    def post(self, payload: Mapping[str, Any], seed: int) -> tuple[dict[str, Any], int]:
        """The JSON object of the reply, and the number of attempts it took.

        Time-outs, broken connections, 429 and errors of the server are tried again, `retries` times: after what
        Retry-After says, else after 1, 2, 4, ... seconds, each times 0.5 to 1.5 as drawn from `seed`.
        Raises UserError when they are used up and for any other status, RefusedError for a prompt that is not answered.
        A key that is refused, or used up, ends all further calls without asking the server.
        """
        for attempt in range(self._settings.retries + 1):
            if self._hopeless is not None:
                raise UserError(self._hopeless)
            try:
                self._gate.enter()
                with self._places:
                    response = self._http.post(self._url, json=payload)
            except httpx.RequestError as error:
                reason, asked = f"{type(error).__name__}: {self.scrub(str(error))}".rstrip(": "), None
            else:
                if response.status_code == 200 and (body := _object(response)) is not None:
                    return body, attempt + 1
                reason = self._reason(response)
                if response.status_code != 200 and not self._worth_retrying(response, reason):
                    raise UserError(reason)
                asked = _retry_after(response)
                if asked is not None and asked > _LONGEST_ASKED:
                    raise UserError(f"{reason}; it asks to wait {asked:.0f} s: run the same command again then")
                if response.status_code in (429, 503) and asked is not None:
                    self._gate.pause(asked)
            if attempt < self._settings.retries:
                self._sleep(backoff(attempt, seed) if asked is None else asked)
        raise UserError(f"{reason}; gave up after {self._settings.retries + 1} attempts")

    def scrub(self, text: str) -> str:
        """`text` without the key."""
        return text.replace(self._key, HIDDEN) if self._key and len(self._key) >= _SECRET_LENGTH else text

    def _worth_retrying(self, response: httpx.Response, reason: str) -> bool:
        """Raises RefusedError for a content filter; remembers what makes all further requests useless."""
        status, code = response.status_code, _error(response).get("code")
        if status == 400 and code in ("content_filter", "content_policy_violation"):
            raise RefusedError(self.scrub(str(_error(response).get("message") or "content filter")))
        if status in (401, 403, 404) or code in _HOPELESS:
            self._hopeless = reason
        return status in _RETRIED and code not in _HOPELESS

    def _reason(self, response: httpx.Response) -> str:
        """One line for a person, without secrets."""
        said = str(_error(response).get("message") or "").strip()
        if response.status_code == 200:
            said = "its reply is no JSON object"
        detail = " ".join(redact(self.scrub(said)).split())[:160]
        line = f"the server said {response.status_code}" + (f" ({detail})" if detail else "")
        if response.status_code in (401, 403):
            return f"{line}: set {KEYS[0]} to a key that may use this model"
        return f"{line}: check URL and model name in openai:URL#NAME" if response.status_code == 404 else line


def backoff(attempt: int, seed: int) -> float:
    """Seconds to wait after the failed attempt 0, 1, ...: doubling, with a jitter that depends on the seed alone."""
    jitter = float(rng(seed, str(attempt), "retry").uniform(0.5, 1.5))
    return min(_FIRST_WAIT * 2.0**attempt, _LONGEST_WAIT) * jitter


def environment() -> Mapping[str, str]:
    """The process's own; a function, so that it is read when a model is loaded and not when this is imported."""
    return os.environ


def _number(name: str, text: str, least: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        raise UserError(f"{name} is {text.strip()!r}: give a number of at least {least:g}")
    return value


def _is_local(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _object(response: httpx.Response) -> dict[str, Any] | None:
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _error(response: httpx.Response) -> dict[str, Any]:
    error = (_object(response) or {}).get("error")
    return error if isinstance(error, dict) else {"message": error}


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds, from a number or an HTTP date; None where the header is absent or unreadable."""
    text = response.headers.get("retry-after")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
