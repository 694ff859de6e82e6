"""`medproof serve` under load from another process on loopback, then told to stop in the middle of it.

    python benchmarks/serve_load.py --seconds 300 --out benchmarks/results/serve_load_cpu.json

Clients send what clients send: valid requests (each with a picture and question of its own), oversized, malformed and
truncated ones, wrong tokens, and slow ones that trickle in, stuck in the headers or in the body. After `--seconds`,
with all clients at work, the server gets SIGTERM; the clients go on until it no longer listens.

What has to hold: every status is one of those its kind may get; the server never dies; accepted = answered by the
server's count; as many answers in its audit log as the clients got; it exits with 0.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import functools
import io
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medproof.datasets import load as load_data
from medproof.evaluation.provenance import hardware
from medproof.runs.versions import versions

TOKEN = "load-test-" + "x" * 16
OPTIONS = ["CT", "MRI", "Ultrasound", "X-ray"]
PATIENCE = 120.0
MAX_MB = 1
KINDS = {"valid": 70, "oversized": 4, "malformed": 10, "truncated": 6, "wrong_token": 6, "slow": 4}
# Per kind, what may come back while the server is up. "closed": no reply. 429: the queue is full.
ALLOWED: dict[str, set[str]] = {
    "valid": {"200", "429"},
    "oversized": {"413"},
    "malformed": {"400", "429"},
    "truncated": {"closed"},
    "wrong_token": {"401"},
    "slow": {"408", "closed"},
}
# Once it has been told to stop, also: 503, a closed connection (a request that it had not begun to read), none at all.
STOPPING = {"503", "closed", "refused"}


@dataclass
class Load:
    """What clients saw. `begun` and `told` (to stop) by time.monotonic."""

    port: int
    seed: int
    deadline: float
    begun: float
    told: float | None = None
    seen: dict[str, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in KINDS})
    unexpected: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    radii: list[float] = field(default_factory=list)
    sent: int = 0


def picture(rng: np.random.Generator) -> str:
    """A data URL of a picture nobody has seen: one of the sample, each of its values up to 2 grey levels off."""
    stored = _sample()
    pixels = stored[int(rng.integers(len(stored)))]
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels + rng.integers(-2, 3, pixels.shape), 0, 255).astype(np.uint8)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@functools.cache
def _sample() -> list[np.ndarray]:
    """(112, 112, 3) each."""
    data = load_data("sample", limit=64)
    images = [Image.open(data.image_path(item)).convert("RGB").resize((112, 112)) for item in data.items]
    return [np.asarray(image).astype(np.int16) for image in images]


def body_of(number: int, load: Load) -> bytes:
    rng = np.random.default_rng([load.seed, number])
    body: dict[str, Any] = {
        "image": picture(rng),
        "question": f"Picture {number}: which imaging technique made it?",
        "options": OPTIONS,
        "deadline_seconds": load.deadline / int(rng.choice([1, 2, 4])),
    }
    if rng.random() < 0.5:
        body["target_radius"] = 0.1
    return json.dumps(body).encode()


def http(body: bytes, token: str = TOKEN, length: int | None = None) -> bytes:
    head = [
        "POST /v1/answer HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        f"Content-Length: {len(body) if length is None else length}",
        "Connection: close",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


async def exchange(port: int, data: bytes, trickle: bytes = b"", leave: bool = False) -> tuple[str, bytes]:
    """(status, "closed" or "refused"; body). trickle: sent after `data`, two bytes a second; leave: do not wait."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return "refused", b""
    try:
        writer.write(data)
        await writer.drain()
        if leave:
            return "closed", b""
        asking = asyncio.ensure_future(_trickle(writer, trickle))
        try:
            reply = await asyncio.wait_for(reader.read(), PATIENCE)
        finally:
            asking.cancel()
    except (ConnectionError, BrokenPipeError):
        return "closed", b""
    finally:
        writer.close()
    match = re.match(rb"HTTP/1\.1 (\d{3})", reply)
    return (match.group(1).decode() if match else "closed"), reply.partition(b"\r\n\r\n")[2]


async def _trickle(writer: asyncio.StreamWriter, data: bytes) -> None:
    for place in range(len(data)):
        writer.write(data[place : place + 1])
        await writer.drain()
        await asyncio.sleep(0.5)


def malformed(number: int, whole: bytes) -> bytes:
    """Something that is no question, of a kind that depends on the number."""
    good = json.loads(whole)
    wrong: list[Callable[[], bytes]] = [
        lambda: http(whole[: len(whole) // 2]),
        lambda: http(json.dumps(good | {"options": ["only one"]}).encode()),
        lambda: http(json.dumps(good | {"image": "https://example.org/a.png"}).encode()),
        lambda: http(json.dumps(good | {"image": good["image"][:-40] + "%%%"}).encode()),
        lambda: http(json.dumps(good | {"image": "data:image/png;base64,aGVsbG8="}).encode()),
        lambda: http(b"\xff\xfe\x00"),
        lambda: b"NONSENSE\r\n\r\n",
    ]
    return wrong[number % len(wrong)]()


def slow_parts(number: int, request: bytes) -> tuple[bytes, bytes]:
    """What is sent at once and what trickles in: from within the headers on, or from within the body."""
    cut = 40 if number % 2 else request.index(b"\r\n\r\n") + 10
    return request[:cut], request[cut:]


async def one(load: Load, kind: str, number: int) -> None:
    whole = body_of(number, load)
    began = time.monotonic()
    asks: dict[str, Callable[[], Awaitable[tuple[str, bytes]]]] = {
        "valid": lambda: exchange(load.port, http(whole)),
        "oversized": lambda: exchange(load.port, http(b"x" * (MAX_MB * 2**20 + 1000))),
        "malformed": lambda: exchange(load.port, malformed(number, whole)),
        "truncated": lambda: exchange(load.port, http(whole[:100], length=len(whole)), leave=True),
        "wrong_token": lambda: exchange(load.port, http(whole, token="wrong" * 4)),
        "slow": lambda: exchange(load.port, *slow_parts(number, http(whole))),
    }
    load.sent += 1
    status, reply = await asks[kind]()
    load.seen[kind][status] += 1
    stopping = load.told is not None
    if status not in ALLOWED[kind] | (STOPPING if stopping else set()):
        load.unexpected.append(f"{kind} got {status}: {reply[:200]!r}")
    if status == "200":
        if not stopping:
            load.latencies.append(time.monotonic() - began)
        certificate = json.loads(reply)["certificate"]
        load.radii.append(certificate["radius"] if certificate else 0.0)
    if status in ("429", "503", "refused"):
        await asyncio.sleep(0.5)


async def client(load: Load, number: int) -> None:
    """Ask until the server is gone."""
    rng = random.Random(f"{load.seed} {number}")
    turn = 0
    while True:
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        await one(load, kind, 1_000_000 * number + turn)
        turn += 1
        if load.told is not None and (load.seen[kind]["refused"] or time.monotonic() - load.told > PATIENCE):
            return


async def attack(load: Load, server: subprocess.Popen[str], args: argparse.Namespace) -> list[float]:
    """All clients; SIGTERM after `args.seconds`. Returns the server's memory in MiB, each second."""
    clients = [asyncio.ensure_future(client(load, number)) for number in range(args.clients)]
    memory = []
    while time.monotonic() - load.begun < args.seconds:
        await asyncio.sleep(1)
        if server.poll() is not None:
            raise SystemExit(f"the server died with {server.returncode}")
        memory.append(rss_mib(server.pid))
    status, _ = await exchange(load.port, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    if status != "200":
        load.unexpected.append(f"/readyz got {status} after the load")
    load.told = time.monotonic()
    server.send_signal(signal.SIGTERM)
    await asyncio.gather(*clients)
    return memory


def rss_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def start(args: argparse.Namespace, folder: Path) -> tuple[subprocess.Popen[str], int]:
    """A server on a free port, and the port."""
    (folder / "tokens").write_text(f"load {TOKEN}\n")
    command = [sys.executable, "-m", "medproof", "serve", "--model", args.model, "--sigma", str(args.sigma)]
    command += ["--port", "0", "--tokens", str(folder / "tokens"), "--audit", str(folder / "audit.jsonl")]
    command += ["--queue", str(args.queue), "--rate", "1000000", "--max-mb", str(MAX_MB), "--device", args.device]
    command += ["--body-seconds", str(args.body_seconds)]
    with (folder / "stderr").open("w") as errors:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert server.stdout is not None
    line = server.stdout.readline()
    match = re.search(r":(\d+)$", line.strip())
    if match is None:
        raise SystemExit(f"the server did not start: {(folder / 'stderr').read_text()}")
    return server, int(match.group(1))


def summary(load: Load, server: subprocess.Popen[str], folder: Path, memory: list[float]) -> dict[str, Any]:
    """The figures, and whether everything held."""
    assert load.told is not None
    exit_code = server.wait(PATIENCE)
    drained = time.monotonic() - load.told
    told = (folder / "stderr").read_text()
    count = re.search(r"(\d+) questions accepted, (\d+) answered", told)
    accepted, answered = map(int, count.groups()) if count else (-1, -2)
    lines = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    logged = sum(line["status"] == 200 for line in lines)
    failed = sum(line["status"] >= 500 and line["status"] != 503 for line in lines)
    received = sum(seen["200"] for seen in load.seen.values())
    quarter = max(1, len(memory) // 4)
    cuts = statistics.quantiles(load.latencies, n=100) if len(load.latencies) > 1 else [0.0] * 99
    return {
        "requests": load.sent,
        "statuses": {kind: dict(sorted(seen.items())) for kind, seen in load.seen.items()},
        "answers_per_second": round(len(load.latencies) / (load.told - load.begun), 2),
        "latency_p50_s": round(cuts[49], 3),
        "latency_p99_s": round(cuts[98], 3),
        "certified_share": round(sum(radius > 0 for radius in load.radii) / max(1, len(load.radii)), 3),
        "rss_mib_second_quarter": round(statistics.mean(memory[quarter : 2 * quarter] or memory), 1),
        "rss_mib_last_quarter": round(statistics.mean(memory[-quarter:]), 1),
        "rss_mib_peak": round(max(memory), 1),
        "accepted": accepted,
        "answered": answered,
        "answers_received": received,
        "answers_in_audit_log": logged,
        "failed": failed,
        "drain_s": round(drained, 2),
        "exit_code": exit_code,
        "unexpected": load.unexpected[:20],
        "held": not load.unexpected and exit_code == failed == 0 and accepted == answered == received == logged > 0,
    }


def main() -> None:
    """Run the load and write one JSON file; exit code 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--sigma", type=float, default=0.25)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--queue", type=int, default=32)
    parser.add_argument("--deadline", type=float, default=12, help="of valid requests; also half and a quarter of it")
    parser.add_argument("--body-seconds", type=float, default=10, help="until the server gives a slow client up")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server, port = start(args, folder)
        load = Load(port, args.seed, args.deadline, time.monotonic())
        try:
            memory = asyncio.run(attack(load, server, args))
            results = summary(load, server, folder, memory)
        finally:
            if server.poll() is None:
                server.kill()
        results["server_said"] = (folder / "stderr").read_text().splitlines()[-5:]
    setting = {key: value for key, value in vars(args).items() if key != "out"} | {"kinds": KINDS}
    report = {"setting": setting, "results": results, "versions": versions(), "hardware": hardware(args.device)}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=2))
    sys.exit(0 if results["held"] else 1)


if __name__ == "__main__":
    main()
