"""From a request's body to its answer: what is accepted is answered."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from medproof.errors import UserError
from medproof.models.prompts import messages
from medproof.records import Item, Mode, View
from medproof.server import answers
from medproof.server.answers import Answer, Hashes, Picture
from medproof.server.audit import AuditLine, AuditLog
from medproof.server.errors import ApiError
from medproof.server.jobs import Job, Verdict
from medproof.server.metrics import Metrics
from medproof.server.rates import Rates
from medproof.server.schemas import AnswerRequest
from medproof.server.settings import Clients, Limits
from medproof.server.uploads import Upload, read_upload
from medproof.server.worker import Worker
from medproof.smoothing.noise import noise_key
from medproof.smoothing.plans import Sequential
from medproof.smoothing.scheme import Scheme

log = logging.getLogger("medproof.server")
_T = TypeVar("_T")
_GREY = 128
_DECODERS = 2  # pictures that are decoded at once; each may take some hundred MB
_MAX_RETRY = 60
_WARM, _WARM_SECONDS = 448, 600.0
PRECISION = 0.02
"""Without a target, voting ends once it could add no more than this to the radius, in units of sigma."""


@dataclass(frozen=True)
class Keeping:
    """What the operator allows beyond the rule."""

    identified: bool = False
    questions: bool = False


class Service:
    """Everything a server holds. Its methods run on the event loop; the model belongs to the worker's thread.

    scheme: sigma, alpha, bound and the looks of the plan; the plan's aim is each request's own.
    Noise is keyed by a secret of this process, the picture and the question: nobody can know it before asking, and
    asking the same again is no second try.
    """

    def __init__(
        self,
        worker: Worker,
        scheme: Scheme,
        metrics: Metrics,
        *,
        limits: Limits,
        clients: Clients,
        audit: AuditLog,
        keeping: Keeping = Keeping(),
    ) -> None:
        if not isinstance(scheme.plan, Sequential):
            raise ValueError("a server needs a sequential plan: a fixed one proves nothing before its end")
        self.worker, self.metrics, self.limits, self.clients, self.audit = worker, metrics, limits, clients, audit
        self.rates = Rates(limits.per_minute)
        self.draining = False
        self.open = self.accepted = self.answered = 0
        self._scheme, self._plan, self._keeping = scheme, scheme.plan, keeping
        self._secret = secrets.randbits(128)
        self._pool = ThreadPoolExecutor(_DECODERS, thread_name_prefix="medproof-decode")
        metrics.watch_open(lambda: self.open)

    @property
    def model(self) -> Hashes:
        voter = self.worker.voter
        return Hashes(name=voter.name, weights_sha256=voter.weights_hash, processor_sha256=voter.processor_hash)

    @property
    def trouble(self) -> str | None:
        """Why no new request should be sent here; None: ready."""
        if self.draining:
            return "shutting down"
        if not self.worker.alive:
            return "the model's thread has ended"
        return None if self.audit.working else "the audit log cannot be written"

    def warm_up(self) -> None:
        """Let the model answer twice about a grey picture, so that the first client does not wait for what is lazy."""
        grid = self.worker.voter.grid
        grey = np.full((_WARM, _WARM, 3), _GREY, np.uint8)
        upload = Upload(grey if grid is None else grid.render(grey), "", (_WARM, _WARM))
        request = AnswerRequest(image="", question="Ready?", options=("yes", "no"), target_radius=1e-6)
        deadline = self.worker.clock() + _WARM_SECONDS
        self.worker.warm_up([self._job(request, upload, deadline) for _ in range(2)])

    async def answer(
        self, read: Callable[[bytes], AnswerRequest], body: bytes, line: AuditLine
    ) -> tuple[Answer, Verdict]:
        """The answer to one body. Raises ApiError where it is refused; `line` gets what the audit log keeps."""
        begun = self.worker.clock()
        request = await self._off_loop(lambda: read(body))
        seconds = self._seconds(request)
        with self._slot(seconds):
            upload = await self._off_loop(lambda: self._upload(request))
            job = self._job(request, upload, begun + seconds)
            self.accepted += 1
            self.worker.submit(job)
            try:
                verdict = await asyncio.wrap_future(job.answered)
            except Exception as error:
                raise ApiError(500, "model_failed", "the model failed on this request; try again later") from error
        self.metrics.verdict(verdict)
        answer = self._answer(line.id, job, upload, verdict, self.worker.clock() - begun)
        self._keep(line, job, answer)
        self.answered += 1
        return answer, verdict

    def _seconds(self, request: AnswerRequest) -> float:
        """Until the answer. Raises ApiError 400 where that is more than the server allows."""
        seconds = request.deadline_seconds or min(self.limits.deadline, self.limits.max_deadline)
        if seconds > self.limits.max_deadline:
            message = f"deadline_seconds: at most {self.limits.max_deadline:g} on this server"
            raise ApiError(400, "invalid_request", message, param="deadline_seconds")
        return seconds

    @contextmanager
    def _slot(self, seconds: float) -> Iterator[None]:
        """Who is in here has been accepted. Raises ApiError 503, or 429 where the queue is full or too slow."""
        if self.trouble:
            raise ApiError(503, "unavailable", f"not available: {self.trouble}", retry_after=5)
        wait = self.worker.seconds_for(self._plan.first * self.open)
        if self.open >= self.limits.queue or wait > seconds:
            message = f"{self.open} questions are open; ask again later"
            raise ApiError(429, "queue_full", message, retry_after=min(_MAX_RETRY, max(1, math.ceil(wait))))
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    async def _off_loop(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _upload(self, request: AnswerRequest) -> Upload:
        return read_upload(
            request.image,
            self.worker.voter.grid,
            self.limits.pixels,
            frame=request.frame,
            window=request.window,
            allow_identified=self._keeping.identified,
        )

    def _job(self, request: AnswerRequest, upload: Upload, deadline: float) -> Job:
        """Raises ApiError 400 where the plan can never prove what is asked for."""
        item, mode = request.item, self.worker.voter.mode
        scheme = self._scheme_for(request.target_radius)
        try:
            start = scheme.start(self.worker.voter.classes(item))
        except UserError as error:
            raise ApiError(400, "target_out_of_reach", str(error), param="target_radius") from error
        except ValueError as error:
            raise ApiError(400, "invalid_request", "options: an option has a reserved name", param="options") from error
        grey = np.full_like(upload.pixels, _GREY)
        view = _view(item, "clean", mode, upload.pixels)
        return Job(
            view=view,
            blank=_view(item, "blank", mode, grey),
            thinking=_view(item, "clean", "think", upload.pixels) if request.reasoning else None,
            seed=noise_key(self._secret, view.pixels_sha256 + view.messages_json, scheme.sigma),
            scheme=scheme,
            start=start,
            deadline=deadline,
        )

    def _scheme_for(self, target: float | None) -> Scheme:
        """The looks, and so the error of each, are the same for every aim."""
        precision = None if target is not None else PRECISION * self._scheme.sigma
        return replace(self._scheme, plan=replace(self._plan, target=target, precision=precision))

    def _answer(self, identifier: str, job: Job, upload: Upload, verdict: Verdict, seconds: float) -> Answer:
        item = job.view.item
        picture = Picture(
            sha256=job.view.pixels_sha256,
            width=upload.pixels.shape[1],
            height=upload.pixels.shape[0],
            upload_sha256=upload.sha256,
            upload_width=upload.size[1],
            upload_height=upload.size[0],
        )
        return Answer(
            id=identifier,
            abstain=verdict.answer is None,
            letter=answers.letter_of(item, verdict.answer),
            answer=verdict.answer,
            certificate=answers.proof(item, verdict, picture, self.worker.voter.base, job.seed),
            blank=answers.blank(item, verdict),
            clean_letter=answers.letter_of(item, verdict.clean),
            reasoning=answers.reasoning(item, verdict),
            picture=picture,
            model=self.model,
            seconds=round(seconds, 3),
            note=answers.note(verdict),
        )

    def _keep(self, line: AuditLine, job: Job, answer: Answer) -> None:
        """Fill in the audit line: enough to check the certificate, too little to know the patient."""
        line.upload_sha256, line.image_sha256 = answer.picture.upload_sha256, answer.picture.sha256
        line.question_sha256 = hashlib.sha256(job.view.messages_json.encode()).hexdigest()
        line.question = job.view.messages_json if self._keeping.questions else None
        line.options, line.letter, line.abstain = len(job.view.item.options), answer.letter, answer.abstain
        line.same_as_blank = answer.blank.same
        line.weights_sha256, line.processor_sha256 = answer.model.weights_sha256, answer.model.processor_sha256
        if (proof := answer.certificate) is not None:
            line.radius, line.n, line.counts = proof.radius, proof.n, [*proof.votes, proof.other_votes]
            line.sigma, line.alpha, line.plan, line.bound = proof.sigma, proof.alpha, proof.plan, proof.bound
            line.seed, line.stopped = proof.seed, proof.stopped


def _view(item: Item, condition: str, mode: Mode, pixels: npt.NDArray[np.uint8]) -> View:
    return View(item, condition, mode, messages(item, mode), pixels)


def new_id() -> str:
    """Of one request, in its answer and in the audit log."""
    return f"{int(time.time()):x}{secrets.token_hex(8)}"
