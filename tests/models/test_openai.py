"""A model behind a server: what is sent, what is read, what is tried again and for how long, and no key anywhere."""

import time

import numpy as np
import pytest

from api_server import KEY, ApiServer, bright, level_of, serving
from medproof.errors import UserError
from medproof.models import load, openai_client
from medproof.models.openai import OpenAIModel, read_reply
from medproof.models.openai_client import Client, Gate, Settings, backoff
from medproof.models.prompts import messages
from medproof.models.protocol import Model, Scorer
from medproof.records import Decoding, Message, View
from medproof.scoring.parse import parse


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("MEDPROOF_API_KEY", KEY)
    monkeypatch.setattr(openai_client, "_FIRST_WAIT", 0.001)


def view_of(number, image=True):
    item, pixels = bright(number)
    return View(item, "clean", "direct", messages(item, "direct", image=image), pixels if image else None)


def ask(server, views, **settings):
    model = model_of(server, **settings)
    return model.generate(views, model.decoding("direct"), seed=3)


def model_of(server, **settings):
    chosen = Settings(**settings)
    return OpenAIModel(server.url, "some-model", Client(f"{server.url}/chat/completions", chosen, KEY), chosen)


def test_it_is_of_level_one_and_named_by_server_and_name():
    with serving(ApiServer()) as server:
        model, other = load(f"openai:{server.url}#a/b"), load(f"openai:{server.url}#c")
    assert isinstance(model, Model)
    assert not isinstance(model, Scorer)
    assert model.name == "a/b"
    assert model.grid is None
    assert model.weights_hash != other.weights_hash
    assert KEY not in repr(vars(model))


def test_what_is_sent_and_read():
    with serving(ApiServer()) as server:
        replies = ask(server, [view_of(0), view_of(1), view_of(2, image=False)], prices=(2.0, 10.0))
    assert [reply.text for reply in replies] == ["<answer>B</answer>", "<answer>A</answer>", "<answer>A</answer>"]
    assert [(r.prompt_tokens, r.completion_tokens, r.truncated) for r in replies] == [(100, 10, False)] * 3
    assert replies[0].info == {"attempts": 1.0, "usd": pytest.approx((100 * 2 + 10 * 10) / 1e6)}
    body = next(body for body in server.bodies if "q00" in str(body))
    assert {k: v for k, v in body.items() if k not in ("messages", "seed")} == {
        "model": "some-model",
        "temperature": 0.0,
        "top_p": 1.0,
        "max_tokens": 64,
    }
    assert 0 <= body["seed"] < 2**31


def test_a_conversation_keeps_its_turns():
    item, pixels = bright(0)
    turns = (Message("user", "q00: look", image=True), Message("assistant", "<answer>A</answer>"), Message("user", "?"))
    with serving(ApiServer()) as server:
        ask(server, [View(item, "c", "direct", turns, pixels)])
    sent = server.bodies[0]["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "user"]
    assert [type(turn["content"]) for turn in sent] == [list, str, str]


def test_fields_a_server_refuses_can_be_left_out_and_then_it_is_another_experiment():
    with serving(ApiServer()) as server:
        ask(server, [view_of(0)], omit=("temperature", "seed"))
        assert server.bodies[0].keys() == {"model", "messages", "top_p", "max_tokens"}
        assert model_of(server, omit=("seed",)).processor_hash != model_of(server).processor_hash


@pytest.mark.parametrize("fault", ["429", "429 later", "500", "503 later", "dropped", "no json", "hang"])
def test_what_passes_is_tried_again(fault):
    script = lambda item, attempt: fault if attempt < 2 else "answer"  # noqa: E731
    with serving(ApiServer(script, hang=0.4)) as server:
        reply = ask(server, [view_of(0)], timeout=0.2)[0]
    assert reply.text == "<answer>B</answer>"
    assert reply.info["attempts"] == 3
    assert server.paid() == {"q00": 1}


def test_it_gives_up_after_its_retries():
    gives_up = pytest.raises(UserError, match=r"said 500 .*gave up after 3 attempts")
    with serving(ApiServer(lambda item, attempt: "500")) as server, gives_up as caught:
        ask(server, [view_of(0)], retries=2)
    assert server.asked["q00"] == 3
    assert KEY not in str(caught.value)


def test_what_does_not_pass_is_not_tried_again():
    with serving(ApiServer(lambda item, attempt: "422")) as server, pytest.raises(UserError, match="said 422"):
        ask(server, [view_of(0)])
    assert server.asked["q00"] == 1


def test_a_refused_key_is_not_tried_again_on_any_item_and_not_told():
    with serving(ApiServer(key="another")) as server:
        model = model_of(server, concurrency=1)
        for number in range(3):
            with pytest.raises(UserError, match=r"said 401 .*set MEDPROOF_API_KEY") as caught:
                model.generate([view_of(number)], Decoding())
            assert KEY not in str(caught.value)
    assert len(server.log) == 1


@pytest.mark.parametrize(("fault", "status"), [("refusal", "abstain"), ("filtered", "abstain"), ("400", "abstain")])
def test_refusals_are_replies(fault, status):
    with serving(ApiServer(lambda item, attempt: fault)) as server:
        reply = ask(server, [view_of(0)])[0]
    assert parse(reply.text, ("dark", "bright")).status == status
    assert not reply.truncated
    assert KEY not in reply.text


def test_a_cut_off_reply_is_a_reply():
    with serving(ApiServer(lambda item, attempt: "truncated")) as server:
        reply = ask(server, [view_of(0)])[0]
    assert reply.truncated
    assert parse(reply.text, ("dark", "bright")).status == "unparsed"


def test_no_more_requests_at_once_than_allowed():
    with serving(ApiServer(delay=0.03)) as server:
        ask(server, [view_of(number) for number in range(9)], concurrency=3)
    assert server.busy == 3


def test_the_limit_is_renamed_for_servers_that_say_so(monkeypatch):
    client = Client("http://127.0.0.1:1/v1", Settings())
    asked = []

    def post(request, seed):
        asked.append(set(request) & {"max_tokens", "max_completion_tokens"})
        if "max_tokens" in request:
            raise UserError("the server said 400 (use 'max_completion_tokens' instead)")
        return {"choices": [{"message": {"content": "A"}}]}, 1

    monkeypatch.setattr(client, "post", post)
    model = OpenAIModel("u", "m", client, Settings())
    assert model.generate([view_of(0)], Decoding())[0].text == "A"
    assert model.generate([view_of(0)], Decoding())[0].text == "A"
    assert asked == [{"max_tokens"}, {"max_completion_tokens"}, {"max_completion_tokens"}]


class Time:
    def __init__(self):
        self.now, self.slept = 0.0, []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def test_rate_limit_spaces_requests_and_a_pause_holds_all():
    made = Time()
    gate = Gate(120, made.clock, made.sleep)
    for _ in range(4):
        gate.enter()
    assert made.now == pytest.approx(1.5)
    gate.pause(10)
    gate.enter()
    assert made.now == pytest.approx(11.5)


def test_retry_after_is_waited_for_and_backoff_doubles_with_a_seeded_jitter(monkeypatch):
    monkeypatch.setattr(openai_client, "_FIRST_WAIT", 1.0)
    waits = [backoff(attempt, seed=5) for attempt in range(9)]
    assert waits == [backoff(attempt, seed=5) for attempt in range(9)]
    assert waits != [backoff(attempt, seed=6) for attempt in range(9)]
    assert all(0.5 <= wait / min(2**attempt, 60) <= 1.5 for attempt, wait in enumerate(waits))
    made = Time()
    with serving(ApiServer(lambda item, attempt: ["503 later", "500", "answer"][attempt])) as server:
        client = Client(f"{server.url}/chat/completions", Settings(), KEY, clock=made.clock, sleep=made.sleep)
        OpenAIModel(server.url, "m", client, Settings()).generate([view_of(0)], Decoding(), seed=1)
    assert len(made.slept) == 2
    assert made.slept[0] == 0.0
    assert 1.0 <= made.slept[1] <= 3.0


def test_settings_come_from_the_environment():
    names = {"CONCURRENCY": "9", "TIMEOUT": "1.5", "RETRIES": "0", "PER_MINUTE": "30", "PRICES": "0.5, 2"}
    told = {f"MEDPROOF_API_{name}": value for name, value in names.items()} | {"MEDPROOF_API_OMIT": "seed, top_p"}
    assert Settings.read(told) == Settings(9, 30.0, 1.5, 0, None, (0.5, 2.0), ("seed", "top_p"))
    assert Settings.read({}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"), [("CONCURRENCY", "0"), ("TIMEOUT", "soon"), ("PRICES", "1"), ("RETRIES", "-1")]
)
def test_settings_that_cannot_be_meant(name, value):
    with pytest.raises(UserError, match=f"MEDPROOF_API_{name}"):
        Settings.read({f"MEDPROOF_API_{name}": value})


@pytest.mark.parametrize(
    "spec", ["openai:", "openai:http://host/v1", "openai:host#name", "openai:ftp://host#name", "openai:http://#name"]
)
def test_bad_names_are_refused(spec):
    with pytest.raises(UserError, match="is not openai:URL#NAME"):
        load(spec)


@pytest.mark.parametrize("url", ["http://user:secret@host/v1", "http://host/v1?key=secret"])
def test_a_key_in_the_url_is_refused_and_not_repeated(url):
    with pytest.raises(UserError, match="MEDPROOF_API_KEY") as caught:
        load(f"openai:{url}#name")
    assert "secret" not in str(caught.value)


def test_a_reply_without_choices_is_an_error():
    for body in ({}, {"choices": []}, {"choices": [{"message": None}]}, {"choices": "x"}):
        with pytest.raises(UserError, match="holds no choices"):
            read_reply(body)


def test_content_may_come_in_parts_or_not_at_all():
    parts = [{"type": "text", "text": "<answer>"}, {"type": "text", "text": "A</answer>"}]
    assert read_reply({"choices": [{"message": {"content": parts}}]}).text == "<answer>A</answer>"
    assert read_reply({"choices": [{"message": {"content": None}}], "usage": None}).text == ""


def test_a_server_that_is_not_there_is_an_error_soon():
    start = time.monotonic()
    client = Client("http://127.0.0.1:9/v1/chat/completions", Settings(retries=1), KEY)
    with pytest.raises(UserError, match=r"ConnectError.*gave up after 2 attempts"):
        OpenAIModel("u", "m", client, Settings()).generate([view_of(0)], Decoding())
    assert time.monotonic() - start < 30


def test_images_go_out_whole():
    item, pixels = bright(0)
    rng = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)
    with serving(ApiServer()) as server:
        ask(server, [View(item, "c", "direct", messages(item, "direct"), rng)])
    assert level_of(server.bodies[0]) == rng.mean()
