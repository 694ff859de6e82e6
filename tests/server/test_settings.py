"""Tokens: read from a file or the environment, never shown, compared whole."""

from pathlib import Path

import pytest

from medproof.errors import UserError
from medproof.server.rates import Rates
from medproof.server.settings import ANYONE, Clients, read_clients, require_tokens

ONE, TWO = "a" * 24, "b" * 24


def test_tokens_by_name_or_line(tmp_path: Path):
    file = tmp_path / "tokens"
    file.write_text(f"# who may ask\n\nward {ONE}\n{TWO}\n")
    clients = read_clients(file, {})
    assert clients.name(f"Bearer {ONE}") == "ward"
    assert clients.name(f"bearer  {TWO} ") == "client-4"
    assert read_clients(None, {"MEDPROOF_SERVE_TOKENS": f"ward {ONE}"}).name(f"Bearer {ONE}") == "ward"


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", f"Basic {ONE}", ONE, f"Bearer {ONE}x", f"Bearer {ONE[:-1]}", "Bearer é" * 9],
)
def test_nobody_elses_token_is_taken(header):
    assert Clients({"ward": ONE, "lab": TWO}).name(header) is None


def test_without_tokens_anyone_may_ask_but_only_on_this_machine():
    assert Clients().name(None) == ANYONE
    require_tokens("127.0.0.1", Clients())
    require_tokens("0.0.0.0", Clients({"ward": ONE}))
    with pytest.raises(UserError, match="--tokens"):
        require_tokens("0.0.0.0", Clients())


@pytest.mark.parametrize(
    "text", ["short\n", f"ward {ONE} more\n", f"ward {ONE}\nlab {ONE}\n", f"a {ONE}\na {TWO}\n", "\n"]
)
def test_bad_token_files_are_named_and_no_token_is_shown(tmp_path: Path, text: str):
    file = tmp_path / "tokens"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        read_clients(file, {})
    assert "tokens" in str(error.value)
    assert ONE not in str(error.value)
    assert "short" not in str(error.value).replace("short\n", "")


def test_a_missing_token_file_is_one_line(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be read"):
        read_clients(tmp_path / "none", {})


def test_tokens_do_not_show_in_text():
    assert ONE not in repr(Clients({"ward": ONE}))


def test_rates_refill_and_say_how_long_to_wait():
    now = [0.0]
    rates = Rates(6, clock=lambda: now[0])
    assert [rates.take("a") for _ in range(7)] == [0] * 6 + [10]
    assert rates.take("b") == 0
    now[0] = 9.0
    assert rates.take("a") == 1
    now[0] = 10.0
    assert rates.take("a") == 0
    now[0] = 1000.0
    assert [rates.take("a") for _ in range(7)] == [0] * 6 + [10]
