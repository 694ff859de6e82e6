"""A server with a fake voter and a client of it; a nano with random weights."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from server_fakes import TOKEN, make_service
from starlette.testclient import TestClient

from medproof.server.app import create_app


@pytest.fixture
def serving() -> Iterator[Callable[..., Any]]:
    """Make services (see `server_fakes.make_service`) with a client each; all end with the test."""
    made = []

    def build(*args: Any, **kwargs: Any) -> Any:
        service = make_service(*args, **kwargs)
        made.append(service)
        client = TestClient(create_app(service), base_url="http://localhost")
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        client.service = service  # type: ignore[attr-defined]
        return client

    yield build
    for service in made:
        service.worker.close()


@pytest.fixture(scope="session")
def nano_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nano with random weights and a tokenizer trained on one question."""
    from medproof.models import nano
    from medproof.models.loading import save_folder
    from medproof.models.prompts import question_text
    from medproof.server.schemas import AnswerRequest

    item = AnswerRequest(image="", question="How bright is it?", options=("black", "dark", "light", "white")).item
    tokenizer = nano.build_tokenizer([question_text(item, "direct"), question_text(item, "think")] * 4)
    folder = tmp_path_factory.mktemp("nano")
    net = nano.build_net(nano.build_config(tokenizer), seed=7)
    save_folder(folder, net, tokenizer, nano.processor_config(nano.GRID))
    return folder
