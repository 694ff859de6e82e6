"""Builders of small runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medproof.records import Item, Response
from medproof.runs.store import RunStore


def build_item(number: int, **changes: Any) -> Item:
    values: dict[str, Any] = {
        "id": f"item{number}",
        "image": f"images/{number}.png",
        "case": f"case{number}",
        "modality": "CT",
        "question_type": "Modality Recognition",
        "question": "Which modality is this?",
        "options": ("CT", "MRI"),
        "answer": "CT",
    }
    return Item.model_validate({**values, **changes})


def build_response(number: int, condition: str = "clean", **changes: Any) -> Response:
    values: dict[str, Any] = {
        "key": f"{condition}-{number}",
        "item_id": f"item{number}",
        "condition": condition,
        "mode": "direct",
        "text": "<answer>A</answer>",
        "image_sha256": "0" * 64,
    }
    return Response.model_validate({**values, **changes})


def build_meta(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "model": "fake",
        "model_name": "fake",
        "mode": "direct",
        "dataset": "tiny",
        "split": "test",
        "limit": None,
        "seed": 0,
        "conditions": ["clean"],
        "decoding": {"max_new_tokens": 16, "temperature": 0.0, "top_p": 1.0},
        "weights_hash": "w" * 64,
        "processor_hash": "p" * 64,
        "dataset_fingerprint": "d" * 64,
        "versions": {"python": "3.11"},
        "hardware": {"cpu": "one"},
        "created": "2026-01-01T00:00:00+00:00",
        "command": ["medproof", "run"],
        "grid": None,
    }
    return {**values, **changes}


@pytest.fixture
def make_item() -> Callable[..., Item]:
    return build_item


@pytest.fixture
def make_response() -> Callable[..., Response]:
    return build_response


@pytest.fixture
def make_meta() -> Callable[..., dict[str, Any]]:
    return build_meta


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """A new run of six items."""
    return RunStore(tmp_path / "run").create(build_meta(), [build_item(n) for n in range(6)])
