"""`medproof serve`: bad usage in one line, before any model is loaded."""

import importlib.util
from pathlib import Path

import pytest
from cli_fakes import Cli

pytestmark = pytest.mark.usefixtures("no_model")

BAD = {
    "sigma 0": (["--sigma", "0"], "sigma"),
    "sigma negative": (["--sigma", "-1"], "sigma"),
    "sigma nan": (["--sigma", "nan"], "sigma"),
    "alpha 0": (["--alpha", "0"], "alpha"),
    "alpha 1": (["--alpha", "1"], "alpha"),
    "few draws": (["--alpha", "1e-12", "--max-draws", "40"], "draw at least"),
    "open to others": (["--host", "0.0.0.0"], "--tokens"),
    "no token file": (["--tokens", "nowhere"], "nowhere"),
    "deadline": (["--deadline", "99"], "--max-deadline"),
    "no deadline": (["--deadline", "0"], "--deadline"),
    "port": (["--port", "70000"], "port"),
    "audit": (["--audit", "no/such/folder/log"], "audit"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_usage_is_one_line_and_code_2(cli: Cli, name: str) -> None:
    more, word = BAD[name]
    given = ["--sigma", "0.25"] if "--sigma" not in more else []
    ran = cli("serve", "--model", "nano", *given, *more)
    assert ran.code == 2
    assert word in ran.complaint


def test_dry_run_says_what_would_be_served(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"ward {'t' * 20}\n")
    ran = cli("serve", "--model", "nano", "--sigma", "0.25", "--tokens", "tokens", "--max-draws", "128", "--dry-run")
    assert ran.code == 0
    assert "32, 64, 128 votes" in ran.out
    assert "1 tokens" in ran.out
    assert "t" * 20 not in ran.out + ran.err


def test_without_the_extra_it_says_what_to_install(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "fastapi" else real(name, *more)
    )
    ran = cli("serve", "--model", "nano", "--sigma", "0.25")
    assert ran.code == 2
    assert "pip install 'medproof[serve]'" in ran.complaint
