"""The routes, through the whole stack but for the sockets and the model."""

import asyncio
import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server_fakes import LAST, OPTIONS, SIGMA, TOKEN, FakeVoter, chat, picture, question

from medproof.server.audit import AuditLog
from medproof.server.service import Keeping
from medproof.server.settings import Limits
from medproof.smoothing.certificate import certify, grey_level_rms
from medproof.smoothing.plans import parse_plan
from medproof.smoothing.scheme import Scheme, Tally, parse_bound


def error_of(reply, status):
    assert reply.status_code == status, reply.text
    body = reply.json()["error"]
    assert body.keys() == {"message", "type", "param", "code"}
    assert "\n" not in body["message"]
    return body["code"]


def test_an_answer_holds_its_certificate_and_what_it_is_worth(serving):
    reply = serving().post("/v1/answer", json=question(30))
    assert reply.status_code == 200
    body = reply.json()
    assert (body["abstain"], body["letter"], body["answer"]) == (False, "A", "black")
    proof = body["certificate"]
    assert (proof["n"], proof["votes"], proof["other_votes"]) == (LAST, [LAST, 0, 0, 0], 0)
    assert (proof["sigma"], proof["alpha"], proof["bound"], proof["stopped"]) == (
        SIGMA,
        0.001,
        "simultaneous",
        "precise",
    )
    assert body["blank"] == {"letter": "C", "answer": "light", "same": False}
    assert body["reasoning"] == {
        "text": "<think>It is bright.</think><answer>A</answer>",
        "letter": "A",
        "agrees": True,
        "truncated": False,
    }
    assert body["model"] == {"name": "fake", "weights_sha256": "w" * 64, "processor_sha256": "p" * 64}
    assert body["picture"]["upload_sha256"] == hashlib.sha256(picture(30)).hexdigest()
    assert body["note"] is None


def test_the_certificate_can_be_made_again_from_what_is_sent(serving):
    proof = (body := serving(FakeVoter(0.2)).post("/v1/answer", json=question(30)).json())["certificate"]
    made = Scheme(proof["sigma"], proof["alpha"], parse_bound(proof["bound"]), parse_plan(proof["plan"]))
    again = certify(made, "x", Tally(dict(zip(OPTIONS, proof["votes"])), dict.fromkeys(OPTIONS, 0)))
    assert (again.radius, again.predicted) == (proof["radius"], body["answer"])
    exact = grey_level_rms(proof["radius"], (body["picture"]["height"], body["picture"]["width"], 3))
    assert exact - 1e-4 < proof["radius_grey_levels_rms"] <= exact


def test_an_answer_that_a_blank_image_gets_too_says_so(serving):
    body = serving().post("/v1/answer", json=question(140)).json()
    assert body["answer"] == "light"
    assert body["blank"]["same"]
    assert "does not show that the model looked" in body["note"]


def test_spread_votes_abstain_with_radius_zero(serving):
    body = serving(FakeVoter(0.5)).post("/v1/answer", json=question(reasoning=False)).json()
    assert (body["abstain"], body["letter"], body["answer"], body["reasoning"]) == (True, None, None, None)
    assert body["certificate"]["radius"] == body["certificate"]["radius_grey_levels_rms"] == 0
    assert "too spread" in body["note"]


def test_a_chat_completion_is_what_openai_clients_read(serving):
    body = serving().post("/v1/chat/completions", json=chat(230)).json()
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "D) white", "refusal": None}
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"] == {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    assert body["medproof"]["certificate"]["radius"] > 0
    plain = serving(FakeVoter(0.5)).post("/v1/chat/completions", json=chat()).json()
    assert plain["choices"][0]["message"]["content"] == "abstain"


def test_asking_again_is_no_second_try_and_anything_else_gets_other_noise(serving):
    client = serving(FakeVoter(0.3))
    seeds = [client.post("/v1/answer", json=question(level)).json()["certificate"] for level in (30, 30, 31)]
    assert seeds[0] == seeds[1]
    assert seeds[0]["seed"] != seeds[2]["seed"]
    other = client.post("/v1/answer", json=question(30, question="Is it bright?")).json()["certificate"]
    assert other["seed"] != seeds[0]["seed"]
    other = serving(FakeVoter(0.3)).post("/v1/answer", json=question(30)).json()["certificate"]
    assert other["seed"] != seeds[0]["seed"]  # a secret of the process: not known before asking


def test_targets_and_deadlines_of_a_request(serving):
    client = serving(limits=Limits(max_deadline=20))
    proof = client.post("/v1/answer", json=question(target_radius=0.1)).json()["certificate"]
    assert (proof["n"], proof["stopped"]) == (32, "proven")
    assert error_of(client.post("/v1/answer", json=question(target_radius=50)), 400) == "target_out_of_reach"
    assert error_of(client.post("/v1/answer", json=question(deadline_seconds=21)), 400) == "invalid_request"


def test_models_pages_and_unknown_paths(serving):
    client = serving()
    assert client.get("/v1/models").json()["data"][0]["id"] == "fake"
    assert error_of(client.get("/v1/nothing"), 404) == "not_found"
    assert error_of(client.get("/v1/answer"), 405) == "method_not_allowed"
    assert error_of(client.get("/docs"), 404) == "not_found"
    for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")):
        page = client.get(path)
        assert page.headers["content-type"].startswith(kind)
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"


def test_tokens(serving):
    client = serving()
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"Basic {TOKEN}"}):
        refused = client.post("/v1/answer", json=question(), headers=headers)
        assert error_of(refused, 401) == "invalid_token"
        assert refused.headers["www-authenticate"] == "Bearer"
    assert client.get("/healthz", headers={"Authorization": ""}).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),
        ("", 403),
        ("localhost.evil.example", 403),
    ],
)
def test_without_tokens_only_this_machine_is_answered(serving, host, status):
    assert serving(tokens={}).get("/v1/models", headers={"Host": host}).status_code == status


def test_a_form_of_another_page_is_refused(serving):
    body = json.dumps(question())
    refused = serving().post("/v1/answer", content=body, headers={"Content-Type": "text/plain"})
    assert error_of(refused, 415) == "invalid_content_type"


def test_sizes(serving):
    client = serving(limits=Limits(body_bytes=2000, pixels=3000))
    refused = client.post("/v1/answer", json=question(question="x" * 2000))
    assert error_of(refused, 413) == "request_too_large"
    refused = client.post("/v1/answer", content=b"x" * 100_000, headers={"Content-Type": "application/json"})
    assert error_of(refused, 413) == "request_too_large"
    big = serving(limits=Limits(pixels=1000)).post("/v1/answer", json=question())
    assert error_of(big, 413) == "image_too_large"


def test_rates_are_per_client(serving):
    client = serving(limits=Limits(per_minute=2), tokens={"ward": TOKEN, "lab": "another-long-token"})
    assert [client.get("/v1/models").status_code for _ in range(3)] == [200, 200, 429]
    refused = client.get("/v1/models")
    assert error_of(refused, 429) == "rate_limit_exceeded"
    assert int(refused.headers["retry-after"]) >= 1
    assert client.get("/v1/models", headers={"Authorization": "Bearer another-long-token"}).status_code == 200


class Held(FakeVoter):
    """Does not vote until it is let go."""

    def __init__(self):
        super().__init__()
        self.busy, self.let_go = threading.Event(), threading.Event()

    def choices(self, views):
        self.busy.set()
        assert self.let_go.wait(30)
        return super().choices(views)


def test_a_full_queue_refuses_and_a_drain_answers_what_was_accepted(serving):
    voter = Held()
    client = serving(voter, limits=Limits(queue=1))
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(client.post, "/v1/answer", json=question(deadline_seconds=50))
        assert voter.busy.wait(30)
        refused = client.post("/v1/answer", json=question())
        assert error_of(refused, 429) == "queue_full"
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/readyz").json() == {"status": "ready"}
        client.service.draining = True
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        assert error_of(client.post("/v1/answer", json=question()), 503) == "unavailable"
        voter.let_go.set()
        assert accepted.result().json()["answer"] == "black"
    assert client.service.open == 0


def test_a_failing_model_is_a_500_without_its_words(serving):
    class Broken(FakeVoter):
        def draw(self, requests):
            raise RuntimeError(f"cannot answer {requests[0].view.item.question}")

    refused = serving(Broken()).post("/v1/answer", json=question())
    assert error_of(refused, 500) == "model_failed"
    assert "bright" not in refused.text


def ask_slowly(service, pieces, wait):
    """One POST over ASGI whose body comes in pieces with pauses; None ends it by leaving. Returns status or None."""
    from medproof.server.app import create_app

    sent = []

    async def run():
        queue = list(pieces)

        async def receive():
            if not queue:
                await asyncio.sleep(60)
            await asyncio.sleep(wait)
            piece = queue.pop(0)
            if piece is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": piece, "more_body": True}

        async def send(message):
            sent.append(message)

        headers = [(b"authorization", f"Bearer {TOKEN}".encode()), (b"content-type", b"application/json")]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/answer",
            "raw_path": b"/v1/answer",
            "query_string": b"",
            "headers": headers,
            "http_version": "1.1",
            "scheme": "http",
            "root_path": "",
        }
        await create_app(service)(scope, receive, send)

    asyncio.run(run())
    return sent[0]["status"] if sent else None


def test_a_slow_body_and_one_that_is_cut_off(serving, tmp_path: Path):
    audit = AuditLog(tmp_path / "audit.jsonl")
    service = serving(limits=Limits(body_seconds=0.2), audit=audit).service
    assert ask_slowly(service, [b"{", b'"'], 0.15) == 408
    assert ask_slowly(service, [b"{", None], 0) is None
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == [408, 499]


def test_the_audit_log_has_hashes_and_no_words(serving, tmp_path: Path):
    path = tmp_path / "audit.jsonl"
    client = serving(FakeVoter(0.2), audit=AuditLog(path))
    reply = client.post("/v1/answer", json=question(30))
    client.post("/v1/answer", json=question(options=["one"]))
    client.post("/v1/answer", json=question(), headers={"Authorization": "Bearer wrong-wrong-wrong"})
    text = path.read_text()
    for secret in (TOKEN, "wrong-wrong", "bright", "black", question()["image"][-40:]):
        assert secret not in text
    good, bad, nobody = map(json.loads, text.splitlines())
    body = reply.json()
    assert good["id"] == body["id"] == reply.headers["x-request-id"]
    assert (good["client"], good["status"], good["letter"]) == ("ward", 200, "A")
    assert good["counts"] == [*body["certificate"]["votes"], 0]
    assert (good["image_sha256"], good["seed"]) == (body["picture"]["sha256"], body["certificate"]["seed"])
    assert (bad["status"], bad["error"], nobody["status"], "client" in nobody) == (400, "invalid_request", 401, False)


def test_questions_are_kept_only_where_the_operator_says_so(serving, tmp_path: Path):
    path = tmp_path / "audit.jsonl"
    serving(audit=AuditLog(path), keeping=Keeping(questions=True)).post("/v1/answer", json=question())
    assert "How bright is it?" in json.loads(path.read_text())["question"]


def test_no_answer_without_its_line_in_the_audit_log(serving, tmp_path: Path):
    audit = AuditLog(tmp_path / "audit.jsonl")
    client = serving(audit=audit)
    audit.close()
    assert error_of(client.post("/v1/answer", json=question()), 503) == "unavailable"
    assert client.get("/readyz").status_code == 503


def test_metrics(serving):
    client = serving()
    client.post("/v1/answer", json=question(140))
    client.post("/v1/answer", json=question(options=[]))
    text = client.get("/metrics").text
    for line in (
        'medproof_requests_total{route="/v1/answer",status="200"} 1.0',
        'medproof_requests_total{route="/v1/answer",status="400"} 1.0',
        'medproof_answers_total{outcome="answered",stopped="precise"} 1.0',
        "medproof_same_as_blank_total 1.0",
        f"medproof_draws_total {LAST}.0",
        "medproof_open_questions 0.0",
    ):
        assert line in text
