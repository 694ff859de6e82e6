"""Whatever is sent, the server answers in the shape of OpenAI errors and never fails itself."""

import base64
import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_fakes import TOKEN, FakeVoter, chat, make_service, question
from starlette.testclient import TestClient

from medproof.server.app import create_app

ROUTES = st.sampled_from(["/v1/answer", "/v1/chat/completions"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
CHECKS = settings(max_examples=150, deadline=None)


@pytest.fixture(scope="module")
def client():
    service = make_service(FakeVoter())
    yield TestClient(create_app(service), base_url="http://localhost", headers={"Authorization": f"Bearer {TOKEN}"})
    service.worker.close()


def send(client, route, body):
    reply = client.post(route, content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code < 500, reply.text
    if reply.status_code != 200:
        error = reply.json()["error"]
        assert isinstance(error["message"], str)
        assert "\n" not in error["message"]
    return reply


def paths(value, at=()):
    """Every place in a JSON value."""
    yield at
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, (*at, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from paths(inner, (*at, number))


def put(value, path, new):
    """A copy of `value` with `new` at `path`."""
    if not path:
        return new
    changed = copy.deepcopy(value)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = new
    return changed


@st.composite
def mutated(draw):
    """A valid body of a route in which one to three places hold something else."""
    route = draw(ROUTES)
    body = (question if route == "/v1/answer" else chat)(options=["a", "b"], deadline_seconds=9.0, target_radius=0.1)
    for _ in range(draw(st.integers(1, 3))):
        if not isinstance(body, (dict, list)):
            break
        body = put(body, draw(st.sampled_from(list(paths(body)))), draw(JSON))
    return route, body


@CHECKS
@given(ROUTES, JSON)
def test_random_json(client, route, body):
    assert send(client, route, json.dumps(body).encode()).status_code == 400


@CHECKS
@given(ROUTES, st.binary(max_size=300))
def test_random_bytes(client, route, body):
    assert send(client, route, body).status_code == 400


@CHECKS
@given(mutated())
def test_valid_bodies_with_something_else_in_them(client, changed):
    route, body = changed
    send(client, route, json.dumps(body).encode())


@CHECKS
@given(st.sampled_from([question(), chat()]), st.data())
def test_valid_bodies_with_bytes_changed_or_cut_off(client, body, data):
    raw = bytearray(json.dumps(body).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(len(raw) // 2, len(raw)))
    send(client, "/v1/chat/completions" if "messages" in body else "/v1/answer", bytes(raw[:cut]))


@CHECKS
@given(st.text(max_size=60), st.lists(st.text(max_size=12), max_size=12))
def test_any_words(client, words, options):
    reply = send(client, "/v1/answer", json.dumps(question(question=words, options=options)).encode())
    if reply.status_code == 200:
        assert reply.json()["answer"] in [*(option.strip() for option in options), None]


@CHECKS
@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM", b"II*\0", b"\0" * 128 + b"DICM"]),
)
def test_any_file(client, data, magic):
    url = "data:image/png;base64," + base64.b64encode(magic + data).decode()
    send(client, "/v1/answer", json.dumps(question(image=url)).encode())
