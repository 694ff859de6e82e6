"""A server that speaks enough of the OpenAI chat API to be asked by `openai:` models, and misbehaves as told.

What it answers depends on the item and on how often that item was asked before: `script(item, attempt)` names one of
FAULTS or "answer". Everything it said is in `log`.
"""

import base64
import io
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

from medproof.records import LETTERS, Item

KEY = "sk-planted-0123456789abcdef"
PAID = frozenset({"answer", "truncated", "refusal", "filtered"})
"""What comes with status 200."""
Script = Callable[[str, int], str]


def always_answer(item: str, attempt: int) -> str:
    return "answer"


def seeded_script(seed: int, hang: bool = True) -> Script:
    """Up to two faults before an item is answered; one in four answers is cut off or refused."""

    def script(item: str, attempt: int) -> str:
        draw = random.Random(f"{seed} {item}")
        faults = ["429", "429 later", "500", "503 later", "dropped", "no json", *(["hang"] if hang else [])]
        planned = [draw.choice(faults) for _ in range(draw.randint(0, 2))]
        last = draw.choice(["answer"] * 9 + ["truncated", "refusal", "filtered"])
        return planned[attempt] if attempt < len(planned) else last

    return script


@dataclass
class ApiServer:
    """`log`: (item, what was sent) in the order of sending; `busy`: the most requests that were under way at once."""

    script: Script = always_answer
    delay: float = 0.0
    hang: float = 1.0
    key: str | None = KEY
    log: list[tuple[str, str]] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    now: int = 0
    busy: int = 0
    url: str = ""

    def paid(self) -> Counter[str]:
        """How often each item was answered with status 200."""
        with self.lock:
            return Counter(item for item, what in self.log if what in PAID)

    def reply(self, body: dict[str, Any], key: str | None) -> tuple[int, dict[str, str], bytes] | None:
        """Status, headers and body; None: the connection is dropped."""
        item = text_of(body).split(":")[0]
        with self.lock:
            attempt = self.asked[item]
            self.asked[item] += 1
            self.bodies.append(body)
        what = "401" if self.key is not None and key != f"Bearer {self.key}" else self.script(item, attempt)
        time.sleep(self.hang if what == "hang" else self.delay)
        with self.lock:
            self.log.append((item, what))
        if what in PAID:
            return 200, {}, json.dumps(completion(body, what)).encode()
        if what == "no json":
            return 200, {"Retry-After": "0"}, b"<html>gateway</html>"
        if what in ("dropped", "hang"):
            return None
        status, _, later = what.partition(" ")
        said = {"error": {"message": f"no, {key}", "code": {"400": "content_filter"}.get(status)}}
        return int(status), {"Retry-After": "0"} if later else {}, json.dumps(said).encode()


def text_of(body: dict[str, Any]) -> str:
    content = body["messages"][0]["content"]
    return content if isinstance(content, str) else next(part["text"] for part in content if part["type"] == "text")


def level_of(body: dict[str, Any]) -> float:
    """Mean grey level of the image sent; -1 without one."""
    content = body["messages"][0]["content"]
    if isinstance(content, str):
        return -1.0
    head, _, data = content[0]["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    return float(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).mean())


def completion(body: dict[str, Any], what: str) -> dict[str, Any]:
    """The right answer to `bright`, or what a fault leaves of it."""
    letter = LETTERS[int(level_of(body) >= 128)]
    message: dict[str, Any] = {"role": "assistant", "content": f"<answer>{letter}</answer>"}
    if what == "truncated":
        message["content"] = "<answer>"
    if what == "refusal":
        message = {"role": "assistant", "content": None, "refusal": "Not something I do."}
    finish = {"truncated": "length", "filtered": "content_filter"}.get(what, "stop")
    if what == "filtered":
        message["content"] = ""
    return {
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    }


@contextmanager
def serving(server: ApiServer):
    """The server on a free port of this machine, in threads, for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.now += 1
                server.busy = max(server.busy, server.now)
            try:
                answer = server.reply(body, self.headers.get("Authorization"))
            finally:
                with server.lock:
                    server.now -= 1
            if answer is None:
                self.close_connection = True
                return
            status, headers, data = answer
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                self.close_connection = True  # the client was killed

        def log_message(self, *_: object) -> None:
            """Quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def bright(number: int) -> tuple[Item, np.ndarray]:
    """A question that the server answers right, and its image."""
    pixels = np.full((32, 32, 3), 60 if number % 2 else 200, np.uint8)
    pixels[:, number % 32] += 10
    item = Item(
        id=f"q{number:02d}",
        image=f"{number:02d}.png",
        case=f"c{number}",
        patient=f"p{number}",
        modality="CT",
        question_type="Other Biological Attributes",
        question=f"q{number:02d}: how bright is the image?",
        options=("dark", "bright"),
        answer="dark" if number % 2 else "bright",
    )
    return item, pixels


def write_data(folder, count: int):
    """An Items JSONL with its images; returns its path."""
    from medproof.datasets import write_items

    folder.mkdir()
    rows = [bright(number) for number in range(count)]
    for item, pixels in rows:
        Image.fromarray(pixels).save(folder / item.image)
    write_items(folder / "items.jsonl", [item for item, _ in rows])
    return folder / "items.jsonl"
