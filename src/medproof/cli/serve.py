"""`medproof serve`: smoothed answers with certificates over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from medproof.cli.console import note, say
from medproof.cli.options import AllowIdentified, Device, DryRun, Dtype, ModelName

_EXTRA = "medproof serve needs FastAPI, uvicorn and prometheus-client: pip install 'medproof[serve]'"


def serve(
    model: ModelName,
    sigma: Annotated[float, typer.Option("--sigma", help="Standard deviation of the noise, in [0, 1] pixels.")],
    alpha: Annotated[float, typer.Option("--alpha", help="Error of each certificate.")] = 0.001,
    max_draws: Annotated[int, typer.Option("--max-draws", min=32, help="Most noisy copies per question.")] = 8192,
    base: Annotated[
        Literal["option_argmax", "greedy"],
        typer.Option("--base", help="What votes: the likeliest letter, or the reply."),
    ] = "option_argmax",
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; others than this machine need --tokens.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
    tokens: Annotated[
        Path | None,
        typer.Option("--tokens", metavar="FILE", help="`name token` per line; default: MEDPROOF_SERVE_TOKENS."),
    ] = None,
    audit: Annotated[
        Path | None, typer.Option("--audit", metavar="FILE", help="Append one JSON line per request.")
    ] = None,
    log_questions: Annotated[
        bool, typer.Option("--log-questions", help="Keep the words of each question in the audit log.")
    ] = False,
    deadline: Annotated[float, typer.Option("--deadline", help="Seconds, where a request names none.")] = 10.0,
    max_deadline: Annotated[float, typer.Option("--max-deadline", help="Seconds a request may ask for.")] = 60.0,
    queue: Annotated[int, typer.Option("--queue", min=1, help="Questions open at once; more get 429.")] = 32,
    rate: Annotated[int, typer.Option("--rate", min=1, help="Requests per client and minute.")] = 120,
    max_mb: Annotated[int, typer.Option("--max-mb", min=1, help="MiB of one request.")] = 8,
    body_seconds: Annotated[
        float, typer.Option("--body-seconds", min=0.1, help="Seconds to send a request; then 408.")
    ] = 10.0,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="Noisy copies per pass; default: 32 on a CPU, 256 on a GPU.")
    ] = None,
    allow_identified: AllowIdentified = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    dry_run: DryRun = False,
) -> None:
    """Answer multiple-choice questions about images by the vote of noisy copies, each with its certificate.

    OpenAI-compatible /v1/chat/completions, /v1/answer, and a page to try it. Ends when told to (SIGTERM), after having
    answered what it accepted.
    """
    _require_extra()
    from medproof.errors import UserError
    from medproof.records import MAX_OPTIONS
    from medproof.server.settings import Limits, read_clients, require_tokens
    from medproof.smoothing.plans import Sequential
    from medproof.smoothing.scheme import Scheme

    if not 0 < deadline <= max_deadline <= 3600:
        raise UserError(
            f"--deadline {deadline:g} and --max-deadline {max_deadline:g}: give 0 < deadline <= max <= 3600"
        )
    clients = read_clients(tokens)
    require_tokens(host, clients)
    limits = Limits(
        deadline=deadline,
        max_deadline=max_deadline,
        queue=queue,
        per_minute=rate,
        body_bytes=max_mb * 2**20,
        body_seconds=body_seconds,
    )
    scheme = Scheme(sigma, alpha, plan=Sequential(target=0.0, last=max_draws))
    scheme.check(MAX_OPTIONS)
    if dry_run:
        say(
            f"would serve {model} on {host}:{port} at sigma {sigma:g}, alpha {alpha:g}, with looks at "
            f"{', '.join(map(str, scheme.plan.looks))} votes"
        )
        say(f"{len(clients.tokens) or 'no'} tokens; audit log: {audit or 'none'}; at most {queue} open questions")
        return
    from medproof.models import load
    from medproof.models.loading import pick_device
    from medproof.server.audit import AuditLog
    from medproof.server.metrics import Metrics
    from medproof.server.run import serve as listen
    from medproof.server.service import Keeping, Service
    from medproof.server.smoothed import Smoothed
    from medproof.server.worker import Worker

    log = AuditLog(audit)
    rows = batch or (256 if pick_device(device).type == "cuda" else 32)
    voter = Smoothed(load(model, device=device, dtype=dtype), sigma, base, rows)
    metrics = Metrics(sigma)
    worker = Worker(voter, metrics, batch=rows)
    keeping = Keeping(identified=allow_identified, questions=log_questions)
    service = Service(worker, scheme, metrics, limits=limits, clients=clients, audit=log, keeping=keeping)
    if not clients.tokens:
        note("no tokens: every program on this machine may ask")
    listen(service, host, port, lambda address: print(f"serving {voter.name} at {address}", flush=True), note)


def _require_extra() -> None:
    """Raises UserError without the extra `[serve]`."""
    import importlib.util

    from medproof.errors import UserError

    if any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn", "prometheus_client")):
        raise UserError(_EXTRA)
