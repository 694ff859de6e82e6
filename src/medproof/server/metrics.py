"""What Prometheus may know: counts, times and radii, nothing of any patient or question."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from medproof.server.jobs import Verdict

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_SIGMAS = (0.1, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 2.5, 3)


class Metrics:
    """One registry per server, so that several can live in one process."""

    def __init__(self, sigma: float) -> None:
        self._sigma = sigma
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "medproof_requests", "Requests by route and status", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "medproof_request_seconds",
            "From the first byte to the answer",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._answers = Counter(
            "medproof_answers",
            "Verdicts: answered or abstained, and why voting ended",
            ["outcome", "stopped"],
            registry=registry,
        )
        self._blank = Counter("medproof_same_as_blank", "Answers that the blank image gets as well", registry=registry)
        self._radius = Histogram(
            "medproof_radius_sigmas", "Certified radius over sigma, of answers", buckets=_SIGMAS, registry=registry
        )
        self._draws = Counter("medproof_draws", "Noisy copies judged", registry=registry)
        self._batches = Histogram("medproof_batch_rows", "Noisy copies per batch", buckets=_ROWS, registry=registry)
        self._open = Gauge("medproof_open_questions", "Accepted and not yet answered", registry=registry)

    def watch_open(self, count: Callable[[], float]) -> None:
        self._open.set_function(count)

    def request(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, rows: int) -> None:
        self._draws.inc(rows)
        self._batches.observe(rows)

    def verdict(self, verdict: Verdict) -> None:
        outcome = "abstained" if verdict.answer is None else "answered"
        self._answers.labels(outcome, verdict.stopped).inc()
        if verdict.answer is not None and verdict.certificate is not None:
            self._radius.observe(verdict.certificate.radius / self._sigma)
            self._blank.inc(verdict.blank == verdict.answer)

    def text(self) -> bytes:
        """In the exposition format of Prometheus."""
        return generate_latest(self._registry)
