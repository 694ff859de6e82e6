"""The routes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from medproof.server.answers import Answer, ChatCompletion, chat_completion
from medproof.server.errors import ApiError
from medproof.server.gate import Gate
from medproof.server.schemas import read_answer, read_chat
from medproof.server.service import Service

PAGE = Path(__file__).parent / "page"


def create_app(service: Service) -> ASGIApp:
    """The ASGI app of one service."""
    app = FastAPI(title="medproof", docs_url=None, redoc_url=None, openapi_url=None)
    _add_answers(app, service)
    _add_watch(app, service)
    _add_page(app)

    @app.exception_handler(ApiError)
    async def refused(request: Request, error: ApiError) -> Response:
        if (line := getattr(request.state, "line", None)) is not None:
            line.error = error.code
        return JSONResponse(error.body, error.status, headers=dict(error.headers))

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
        refusal = ApiError(error.status_code, code, f"{request.method} is not answered here: {error.detail}")
        return JSONResponse(refusal.body, error.status_code, headers=dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return JSONResponse(ApiError(500, "internal", "the server failed; see its log").body, 500)

    return Gate(app, service)


def _add_answers(app: FastAPI, service: Service) -> None:
    @app.post("/v1/answer")
    async def answer(request: Request) -> Answer:
        found, _ = await service.answer(read_answer, await request.body(), request.state.line)
        return found

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> ChatCompletion:
        name = service.model.name
        body = await request.body()
        found, verdict = await service.answer(lambda raw: read_chat(raw, name), body, request.state.line)
        reply = verdict.reply
        tokens = (0, 0) if reply is None else (reply.prompt_tokens, reply.completion_tokens)
        return chat_completion(found, int(time.time()), tokens)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        entry = {"id": service.model.name, "object": "model", "created": 0, "owned_by": "medproof"}
        return {"object": "list", "data": [entry | {"medproof": service.model.model_dump()}]}


def _add_watch(app: FastAPI, service: Service) -> None:
    @app.get("/healthz")
    async def healthz() -> Response:
        """Should this process go on living?"""
        alive = service.worker.alive
        return JSONResponse({"status": "ok" if alive else "the model's thread has ended"}, 200 if alive else 503)

    @app.get("/readyz")
    async def readyz() -> Response:
        """Should requests be sent here?"""
        return JSONResponse({"status": service.trouble or "ready"}, 503 if service.trouble else 200)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _add_page(app: FastAPI) -> None:
    @app.get("/")
    async def page() -> Response:
        return FileResponse(PAGE / "index.html")

    @app.get("/page.css")
    async def style() -> Response:
        return FileResponse(PAGE / "page.css")

    @app.get("/page.js")
    async def script() -> Response:
        return FileResponse(PAGE / "page.js")
