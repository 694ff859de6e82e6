"""`medproof run --model openai:...` against a server of this machine that fails as told."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from cli_fakes import Cli

from api_server import KEY, PAID, ApiServer, seeded_script, serving, write_data
from medproof.models import openai_client
from medproof.runs.shards import Shards
from medproof.runs.store import read_run
from medproof.scoring.scored import score

ITEMS = 24
PATIENCE = 120  # seconds; a test machine may be busy


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDPROOF_API_KEY", KEY)
    monkeypatch.setenv("MEDPROOF_API_TIMEOUT", "0.4")
    monkeypatch.setenv("MEDPROOF_API_PRICES", "1,4")
    monkeypatch.setattr(openai_client, "_FIRST_WAIT", 0.001)


@pytest.fixture
def items(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data", ITEMS)


def no_key_below(folder: Path) -> bool:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return not any(KEY.encode() in path.read_bytes() for path in files)


def rows_on_disk(run: Path) -> Counter[str]:
    reader = Shards(run)
    tables = [reader.table(name) for name in reader.names()]
    return Counter(item for table in tables for item in table.column("item_id").to_pylist())


def test_every_item_ends_in_one_outcome(cli: Cli, items: Path, tmp_path: Path) -> None:
    with serving(ApiServer(seeded_script(1), hang=0.6)) as server:
        ran = cli("run", "--model", f"openai:{server.url}#m", "--data", items, "--condition", "clean", "--out", "run")
    assert ran.code == 0, ran.err
    assert {"429", "500", "hang", "truncated", "refusal"} <= {what for _, what in server.log}
    assert server.paid() == {f"q{number:02d}": 1 for number in range(ITEMS)}
    scored = score(read_run(tmp_path / "run"))
    expected = {"answer": "correct", "truncated": "unparsed", "refusal": "abstain", "filtered": "abstain"}
    last = {item: expected[what] for item, what in server.log if what in PAID}
    assert {item: outcome.status for item, outcome in scored.outcomes["clean"].items()} == last
    for response in scored.responses["clean"].values():
        assert (response.prompt_tokens, response.completion_tokens) == (100, 10)
        assert response.info["usd"] == pytest.approx(140e-6)
    assert no_key_below(tmp_path / "run")
    assert KEY not in ran.out + ran.err


def test_what_was_given_up_is_an_error_and_is_all_that_is_asked_again(cli: Cli, items: Path, tmp_path: Path) -> None:
    down = {"q03", "q11"}
    words = ("--data", items, "--condition", "clean", "--out", "run")
    with serving(ApiServer(lambda item, attempt: "500" if item in down and attempt < 6 else "answer")) as server:
        ran = cli("run", "--model", f"openai:{server.url}#m", *words)
        assert ran.code == 2
        assert "2 of 24 items could not be answered: the server said 500" in ran.complaint
        statuses = Counter(o.status for o in score(read_run(tmp_path / "run")).outcomes["clean"].values())
        assert statuses == {"correct": ITEMS - 2, "error": 2}
        assert cli("run", "--model", f"openai:{server.url}#m", *words).code == 0
    assert server.paid() == {f"q{number:02d}": 1 for number in range(ITEMS)}
    assert no_key_below(tmp_path / "run")


@pytest.mark.slow
def test_killed_and_resumed_nothing_stored_is_paid_for_twice(items: Path, tmp_path: Path) -> None:
    """A reply counts as paid when the server has sent it; it is safe when its row is on disk. Between the two stand at
    most as many items as there are requests at once."""
    at_once, run = 3, tmp_path / "run"
    settings = {"MEDPROOF_API_CONCURRENCY": str(at_once), "MEDPROOF_API_TIMEOUT": "30", "MEDPROOF_API_KEY": KEY}
    script = seeded_script(2, hang=False)

    def calm(item: str, attempt: int) -> str:
        what = script(item, attempt)
        return {"429": "429 later", "500": "503 later", "dropped": "429 later"}.get(what, what)

    with serving(ApiServer(calm, delay=0.02)) as server:
        words = ["run", "--model", f"openai:{server.url}#m", "--data", str(items), "--condition", "clean"]
        command = [sys.executable, "-m", "medproof", *words, "--out", str(run)]

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command, env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )

        allowed = 0
        for goal in (5, 13):
            process = start()
            deadline = time.monotonic() + PATIENCE
            while server.paid().total() < goal and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            stored, paid = rows_on_disk(run), server.paid()
            assert 0 < stored.total() < ITEMS
            assert set(stored.values()) == {1}
            assert (paid - stored).total() - allowed <= at_once
            allowed = (paid - stored).total()
            safe = set(stored)
            before = {item: paid[item] for item in safe}
        out, err = start().communicate(timeout=PATIENCE)
        assert b"abstain" in out + err
    paid = server.paid()
    assert rows_on_disk(run) == dict.fromkeys(paid, 1)
    assert len(paid) == ITEMS
    assert paid.total() - ITEMS <= 2 * at_once  # what was under way at the two kills, and nothing else
    assert {item: paid[item] for item in safe} == before  # nothing on disk was asked for again
    assert no_key_below(run)


def test_white_box_conditions_name_what_can_be_run_instead(cli: Cli, items: Path) -> None:
    words = ("run", "--model", "openai:http://127.0.0.1:9/v1#m", "--data", items, "--out", "run", "--condition")
    ran = cli(*words, "pgd(linf,8/255)")
    assert ran.code == 2
    assert "square(linf,8/255,reads=letter)" in ran.complaint
    ran = cli(*words, "square(linf,8/255)")
    assert ran.code == 2
    assert "add reads=letter" in ran.complaint


def test_square_reads_letters_through_a_server(cli: Cli, items: Path, tmp_path: Path) -> None:
    words = ("--data", items, "--limit", 3, "--condition", "square(linf,120/255,9,reads=letter)", "--out", "run")
    with serving(ApiServer()) as server:
        ran = cli("run", "--model", f"openai:{server.url}#m", *words)
    assert ran.code == 0, ran.err
    responses = read_run(tmp_path / "run").responses
    assert len(responses) == 3
    assert sum(r.info["generations"] for r in responses) + 3 == server.paid().total()


def test_doctor_needs_option_scores(cli: Cli) -> None:
    ran = cli("doctor", "--model", "openai:http://127.0.0.1:9/v1#m")
    assert ran.code == 2
    assert "gives none: check a local model" in ran.complaint
