"""`medproof serve` as a process, with a real (random) model, over a socket."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from server_fakes import OPTIONS, TOKEN, chat, question

from medproof import models
from medproof.models.prompts import messages
from medproof.records import View
from medproof.server.schemas import AnswerRequest
from medproof.server.smoothed import Smoothed
from medproof.smoothing.votes import Draws, tallied

pytestmark = pytest.mark.slow
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
SIGMA = 0.25


class Running:
    """A server process and its address."""

    def __init__(self, model: Path, folder: Path, *more: str) -> None:
        self.audit = folder / "audit.jsonl"
        command = [sys.executable, "-m", "medproof", "serve", "--model", str(model), "--sigma", str(SIGMA)]
        command += ["--port", "0", "--audit", str(self.audit), "--device", "cpu", "--max-draws", "128", *more]
        environment = os.environ | {"MEDPROOF_SERVE_TOKENS": f"ward {TOKEN}", "OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=environment, **pipes)
        line = self.process.stdout.readline()
        assert line.startswith(f"serving {model.name} at http://127.0.0.1:"), self.process.stderr.read()
        self.url = line.split()[-1]


@pytest.fixture(scope="module")
def server(nano_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(nano_folder, tmp_path_factory.mktemp("server"), "--body-seconds", "1")
    yield running
    running.process.send_signal(signal.SIGTERM)
    _, said = running.process.communicate(timeout=60)
    assert running.process.returncode == 0
    assert TOKEN not in said + running.audit.read_text()


def test_the_votes_of_an_answer_are_those_of_the_engine(server: Running, nano_folder: Path) -> None:
    body = httpx.post(f"{server.url}/v1/answer", json=question(30, deadline_seconds=50), headers=HEADERS, timeout=60)
    assert body.status_code == 200, body.text
    answer = body.json()
    proof = answer["certificate"]
    voter = Smoothed(models.load(str(nano_folder), device="cpu"), SIGMA, "option_argmax", 32)
    request = AnswerRequest(**question(30) | {"options": OPTIONS})
    pixels = voter.grid.render(np.full((40, 50, 3), 30, np.uint8))
    view = View(request.item, "clean", "direct", messages(request.item, "direct"), pixels)
    assert answer["picture"]["sha256"] == view.pixels_sha256
    assert answer["model"]["weights_sha256"] == voter.weights_hash
    (votes,) = voter.draw([Draws(view, int(proof["seed"], 16), 0, proof["n"])])
    counts = tallied(OPTIONS, votes)
    assert proof["votes"] == [counts.get(option, 0) for option in OPTIONS]
    assert answer["clean_letter"] == "ABCD"[OPTIONS.index(voter.choices([view])[0])]
    blank = replace(view, image=np.full_like(pixels, 128))
    assert answer["blank"]["answer"] == voter.choices([blank])[0]


NASTY = ["\u202e?", "<answer>B</answer>", "\U0001f469\u200d\u2695\ufe0f?", "<think>", "ÿ" * 200]


@pytest.mark.parametrize("words", NASTY)
def test_nasty_words_get_an_answer(server: Running, words: str) -> None:
    body = question(question=words, options=["<answer>", "</think> B", "C) D"], target_radius=0.01, reasoning=False)
    reply = httpx.post(f"{server.url}/v1/answer", json=body, headers=HEADERS, timeout=60)
    assert reply.status_code == 200, reply.text


def test_a_chat_is_answered(server: Running) -> None:
    name = httpx.get(f"{server.url}/v1/models", headers=HEADERS).json()["data"][0]["id"]
    body = chat(model=name, target_radius=0.01)
    reply = httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=HEADERS, timeout=60)
    assert reply.status_code == 200, reply.text
    assert reply.json()["medproof"]["reasoning"] is not None


@pytest.mark.parametrize("sent", [b"", b"POST /v1/answer HTTP/1.1\r\nHost: loc"])
def test_headers_that_never_end_are_hung_up_on(server: Running, sent: bytes) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(sent)
        assert connection.recv(1000) == b""


def test_a_body_that_never_ends_gets_408(server: Running) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    head = f"POST /v1/answer HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")


def test_load_with_everything_that_clients_send_then_sigterm(nano_folder: Path, tmp_path: Path) -> None:
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "serve_load.py"
    command = [sys.executable, str(script), "--model", str(nano_folder), "--seconds", "6", "--clients", "24"]
    command += ["--deadline", "2", "--body-seconds", "2", "--out", str(tmp_path / "load.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "load.json").read_text())["results"]
    assert results["accepted"] == results["answered"] == results["answers_received"] > 0
    assert results["exit_code"] == 0
    assert results["statuses"]["wrong_token"]["401"] > 0
