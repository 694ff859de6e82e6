"""A voter without a model, questions about brightness, and a server in this process."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from medproof.images.grid import Grid
from medproof.models.protocol import Reply
from medproof.records import LETTERS, Item, Mode, View
from medproof.server.audit import AuditLog
from medproof.server.metrics import Metrics
from medproof.server.service import Keeping, Service
from medproof.server.settings import Clients, Limits
from medproof.server.worker import Worker
from medproof.smoothing.plans import Sequential
from medproof.smoothing.scheme import Scheme
from medproof.smoothing.votes import Draws

OPTIONS = ("black", "dark", "light", "white")
TOKEN = "correct-horse-battery"
SIGMA = 0.25
LAST = 256


class FakeVoter:
    """Sees the brightness; draw d of a seed errs with probability `error`, the same in whatever batch it stands."""

    name = "fake"
    weights_hash = "w" * 64
    processor_hash = "p" * 64
    sigma = SIGMA
    base = "option_argmax"
    mode: Mode = "direct"
    grid = Grid(min_pixels=28 * 28, max_pixels=56 * 56)

    def __init__(self, error: float = 0.0) -> None:
        self.error = error
        self.batches: list[list[Draws]] = []
        self.words = "<think>It is bright.</think><answer>{}</answer>"

    def classes(self, item: Item) -> tuple[str, ...]:
        return item.options

    def choice(self, view: View) -> int:
        assert view.image is not None
        return min(int(view.image.mean() // 64), len(view.item.options) - 1)

    def draw(self, requests: Sequence[Draws]) -> list[npt.NDArray[np.int64]]:
        self.batches.append(list(requests))
        return [np.array([self.one(r, d) for d in range(r.first, r.first + r.count)], np.int64) for r in requests]

    def one(self, request: Draws, draw: int) -> int:
        rng = np.random.default_rng([request.seed, draw])
        right = self.choice(request.view)
        wrong = (right + 1) % len(request.view.item.options)
        return wrong if rng.random() < self.error else right

    def choices(self, views: Sequence[View]) -> list[str | None]:
        return [view.item.options[self.choice(view)] for view in views]

    def replies(self, views: Sequence[View]) -> list[Reply]:
        assert {view.mode for view in views} == {"think"}
        return [Reply(self.words.format(LETTERS[self.choice(view)]), 7, 5, False) for view in views]


def picture(level: int = 30, size: tuple[int, int] = (40, 50)) -> bytes:
    """A PNG of one grey level; size: height, width."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((*size, 3), level, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def question(level: int = 30, **changes: Any) -> dict[str, Any]:
    """A body of /v1/answer."""
    body = {"image": data_url(picture(level)), "question": "How bright is it?", "options": list(OPTIONS)}
    return body | changes


def chat(level: int = 30, **changes: Any) -> dict[str, Any]:
    """A body of /v1/chat/completions, options in the text."""
    lines = [f"{LETTERS[i]}) {option}" for i, option in enumerate(OPTIONS)]
    content = [
        {"type": "image_url", "image_url": {"url": data_url(picture(level))}},
        {"type": "text", "text": "\n".join(["How bright is it?", *lines])},
    ]
    return {"model": "fake", "messages": [{"role": "user", "content": content}]} | changes


def scheme(last: int = LAST) -> Scheme:
    return Scheme(SIGMA, 0.001, plan=Sequential(target=0.0, last=last))


def make_service(
    voter: Any = None,
    *,
    limits: Limits | None = None,
    tokens: dict[str, str] | None = None,
    audit: AuditLog | None = None,
    keeping: Keeping | None = None,
    start: bool = True,
) -> Service:
    """A service whose thread runs; close it with `service.worker.close()`."""
    metrics = Metrics(SIGMA)
    worker = Worker(voter or FakeVoter(), metrics, batch=64)
    service = Service(
        worker,
        scheme(),
        metrics,
        limits=limits or Limits(per_minute=100_000),
        clients=Clients({"ward": TOKEN} if tokens is None else tokens),
        audit=audit or AuditLog(None),
        keeping=keeping or Keeping(),
    )
    if start:
        worker.start()
    return service
