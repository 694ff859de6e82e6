from collections.abc import Callable
from typing import Any

import pytest

from medproof.runs.redact import HIDDEN, redact
from medproof.runs.store import RunStore

SECRET = "s3cr3t" + "Value0123456789abcdef"


@pytest.mark.parametrize(
    "text",
    [
        f"medproof run --api-key {SECRET} --model m",
        f"medproof run --api_key={SECRET}",
        f"medproof run --api-key '{SECRET}' --out x",
        f"OPENAI_API_KEY={SECRET} medproof run",
        f"HF_TOKEN={SECRET} medproof run",
        f"medproof run --hf-token {SECRET}",
        f"medproof run --password {SECRET}",
        f'{{"client_secret": "{SECRET}"}}',
        f"curl -H 'Authorization: Bearer {SECRET}'",
        f"openai:https://user:{SECRET}@host.example/v1#name",
        f"openai:https://host.example/v1?key={SECRET}#name",
        f"openai:https://host.example/v1?a=1&api_key={SECRET}#name",
        f"model sk-{SECRET}",
        f"hf_{SECRET}",
        f"ghp_{SECRET}",
    ],
)
def test_secrets_are_hidden(text: str) -> None:
    hidden = redact(text)
    assert SECRET not in hidden
    assert "s3cr3t" not in hidden
    assert HIDDEN in hidden
    assert redact(hidden) == hidden


@pytest.mark.parametrize(
    "text",
    [
        "medproof run --model nano --data sample --condition pgd(linf,8/255,20) --out runs/a",
        "medproof run --batch-tokens 4096 --seed 0",
        "--max-new-tokens=16",
        "openai:https://host.example/v1#name",
        "a folder of skin_lesion_images_from_the_clinic",
        "risk-assessment-model-of-1999",
        "hf-internal-testing/tiny-random-model",
        "d" * 64,
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text


def test_lists_and_dicts() -> None:
    value: dict[str, Any] = {
        "command": ["medproof", "--api-key", SECRET, "--model", "m", f"--token={SECRET}"],
        "deep": [{"api_key": SECRET, "n": 3}],
        "versions": {"tokenizers": "0.22"},
        "none": None,
        "empty": [],
    }
    assert redact(value) == {
        "command": ["medproof", "--api-key", HIDDEN, "--model", "m", f"--token={HIDDEN}"],
        "deep": [{"api_key": HIDDEN, "n": 3}],
        "versions": {"tokenizers": "0.22"},
        "none": None,
        "empty": [],
    }


def test_no_secret_reaches_the_disk(store: RunStore, make_meta: Callable[..., dict[str, Any]]) -> None:
    meta = make_meta(
        conditions=["clean", "blank"], command=["medproof", "--api-key", SECRET], versions={"python": "3.13"}
    )
    store.create(meta, store.items())
    store.update_meta(lambda old: {**old, "command": f"medproof --api-key {SECRET}"})
    for path in store.path.rglob("*"):
        if path.is_file():
            assert b"s3cr3t" not in path.read_bytes()
    assert store.meta["resumed"][0]["command"] == ["medproof", "--api-key", HIDDEN]
