"""Models behind an OpenAI-compatible server, `openai:URL#NAME`: level 1 of the protocol. No torch.

Level 2 is left out on purpose: chat servers return log-probabilities of tokens that the model itself wrote, at most
some twenty per place, and cannot be asked for the option letters at a slot they did not reach.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from medproof.errors import UserError
from medproof.images.png import encode_png
from medproof.models.openai_client import Client, RefusedError, Settings, environment, key_of
from medproof.models.protocol import Reply
from medproof.records import Decoding, Message, Mode, View
from medproof.scoring.refusal import is_refusal
from medproof.seeds import derive_seed

PREFIX = "openai:"
_MAX_TOKENS: dict[Mode, int] = {"direct": 64, "think": 1024, "think_after": 1024}
_TOKEN_PIXELS = 28 * 28
"""Pixels per token in `cost`, which only orders and batches."""
_MAX_SEED = 2**31


class OpenAIModel:
    """One model of one server. Safe to call from threads.

    concurrency: how many requests may be under way at once. `grid` is None: images are sent in their stored size.
    """

    grid = None

    def __init__(self, url: str, name: str, client: Client, settings: Settings) -> None:
        self.name = name
        self.concurrency = settings.concurrency
        self._client, self._settings = client, settings
        # The weights cannot be hashed: server and name stand for them, and what is left out for the processor.
        self.weights_hash = _hash("weights", url, name)
        self.processor_hash = _hash("png data url", *sorted(settings.omit))
        self._limit_name = "max_tokens"

    def decoding(self, mode: Mode) -> Decoding:
        """Greedy, as far as the server goes along. The limit is roomier than a local model's: some write preambles."""
        return Decoding(max_new_tokens=self._settings.max_tokens or _MAX_TOKENS[mode])

    def cost(self, view: View) -> int:
        """A rough number of tokens."""
        pixels = 0 if view.image is None else view.image.shape[0] * view.image.shape[1]
        letters = sum(len(message.text) for message in view.messages)
        return pixels // _TOKEN_PIXELS + letters // 4 + self.decoding(view.mode).max_new_tokens

    def generate(self, views: Sequence[View], decoding: Decoding, seed: int = 0) -> list[Reply]:
        """One reply per view, in order, `concurrency` requests at a time.

        Refusals and cut-off replies are replies. Raises UserError where the server gives none.
        """
        if len(views) <= 1:
            return [self._reply(view, decoding, seed) for view in views]
        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(pool.map(lambda view: self._reply(view, decoding, seed), views))

    def _reply(self, view: View, decoding: Decoding, seed: int) -> Reply:
        own = derive_seed(seed, view.item.id, f"sample:{view.condition}:{view.mode}")
        request = self._request(view, decoding, own)
        try:
            body, attempts = self._post(request, own)
        except RefusedError as refused:
            return Reply(_refusal(str(refused)), 0, 0, truncated=False)
        reply = read_reply(body)
        used = (reply.prompt_tokens, reply.completion_tokens)
        info = {"attempts": float(attempts)}
        if self._settings.prices is not None:
            info["usd"] = sum(count * price for count, price in zip(used, self._settings.prices, strict=True)) / 1e6
        return Reply(self._client.scrub(reply.text), *used, reply.truncated, info)

    def _request(self, view: View, decoding: Decoding, seed: int) -> dict[str, Any]:
        request = {
            "model": self.name,
            "messages": [_message(message, view) for message in view.messages],
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "seed": seed % _MAX_SEED,
            "max_tokens": decoding.max_new_tokens,
        }
        return {name: value for name, value in request.items() if name not in self._settings.omit}

    def _post(self, request: dict[str, Any], seed: int) -> tuple[dict[str, Any], int]:
        """Newer models of some servers know `max_tokens` under another name, and say so: then that one is used."""
        try:
            return self._client.post(self._renamed(request), seed)
        except UserError as error:
            if self._limit_name != "max_tokens" or "max_completion_tokens" not in str(error):
                raise
            self._limit_name = "max_completion_tokens"
            return self._client.post(self._renamed(request), seed)

    def _renamed(self, request: dict[str, Any]) -> dict[str, Any]:
        return {self._limit_name if name == "max_tokens" else name: value for name, value in request.items()}


def load_openai(spec: str) -> OpenAIModel:
    """`openai:URL#NAME`, as in openai:http://127.0.0.1:8000/v1#qwen. Key and settings come from the environment.

    Raises UserError for another form, and for a URL that holds a key.
    """
    url, _, name = spec.removeprefix(PREFIX).partition("#")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not name:
        raise UserError(f"model {spec!r} is not openai:URL#NAME: write it as in openai:http://127.0.0.1:8000/v1#name")
    if parts.username or parts.password or parts.query:
        raise UserError("the URL of an openai: model holds a user or a query: give keys in MEDPROOF_API_KEY only")
    told = environment()
    settings = Settings.read(told)
    client = Client(f"{url.rstrip('/')}/chat/completions", settings, key_of(told))
    return OpenAIModel(url.rstrip("/"), name, client, settings)


def read_reply(body: dict[str, Any]) -> Reply:
    """The first choice of a chat completion. Raises UserError where there is none.

    What the server declares a refusal, or its content filter stopped, reads as one.
    """
    try:
        choice = body["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        text, refusal = message.get("content"), message.get("refusal")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise UserError("the server's reply holds no choices[0].message: is the URL that of a chat API?") from None
    text = _text(text)
    if isinstance(refusal, str) and refusal:
        text = _refusal(refusal)
    elif finish == "content_filter":
        text = _refusal(text or "content filter")
    usage = body.get("usage") if isinstance(body.get("usage"), dict) else {}
    return Reply(text, _count(usage, "prompt_tokens"), _count(usage, "completion_tokens"), truncated=finish == "length")


def _text(content: Any) -> str:
    """Content is text, or a list of parts; None where there is none."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _refusal(words: str) -> str:
    return words if is_refusal(words) else f"I refuse to answer.\n{words}"


def _count(usage: Any, name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and value >= 0 else 0


def _message(message: Message, view: View) -> dict[str, Any]:
    if not message.image or view.image is None:
        return {"role": message.role, "content": message.text}
    data = base64.b64encode(encode_png(view.image)).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    return {"role": message.role, "content": [image, {"type": "text", "text": message.text}]}


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(["openai", *parts]).encode()).hexdigest()
