"""One thread owns the model: it batches the noisy copies of all open questions, and answers each by its deadline."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from medproof.server.errors import trace
from medproof.server.jobs import Job, Stopped, Verdict
from medproof.server.metrics import Metrics
from medproof.server.voter import Voter
from medproof.smoothing.certificate import certify
from medproof.smoothing.votes import Draws, Votes, tallied

log = logging.getLogger("medproof.server")
_SMOOTHING = 0.2  # of the running mean of the time per copy
_IDLE_SECONDS = 0.5
_PREPARED = 8  # questions a round: reasons take the longest, and voters wait for them


class Worker:
    """Rounds of one batch each, until closed.

    A batch serves the questions with the fewest votes at their last look first, then the nearest deadline: every
    question gets its first look before any gets another. The numbers of votes at which a question is looked at are
    fixed by its plan; time only decides how many looks there are. Votes beyond the last look are not used.
    """

    def __init__(
        self, voter: Voter, metrics: Metrics, *, batch: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if batch < 1:
            raise ValueError("a batch holds at least one noisy copy")
        self.voter, self.clock = voter, clock
        self._metrics, self._batch = metrics, batch
        self._arrived: list[Job] = []
        self._open: list[Job] = []
        self._change = threading.Condition()
        self._closing = False
        self._row_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="medproof-model", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Answer what is open, then end."""
        with self._change:
            self._closing = True
            self._change.notify()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def warm_up(self, jobs: Sequence[Job]) -> None:
        """Answer questions before the thread starts; the times of the last one count. Raises what the model raises."""
        for job in jobs:
            self._row_seconds = 0.0
            self.submit(job)
            while not job.answered.done():
                self.round()
            job.answered.result()

    def submit(self, job: Job) -> None:
        """Hand over a question; `job.answered` gets its verdict. Safe to call from any thread."""
        job.answered.set_running_or_notify_cancel()  # nobody can take it back
        with self._change:
            self._arrived.append(job)
            self._change.notify()

    def seconds_for(self, copies: int) -> float:
        """An estimate of how long that many noisy copies take; 0 before the first batch."""
        return self._row_seconds * copies

    def round(self) -> None:
        """Take what has arrived, finish what is due, and run one batch."""
        with self._change:
            arrived, self._arrived = self._arrived, []
        self._open += arrived
        unprepared = [job for job in self._open if not job.prepared]
        self._guarded(self._prepare, sorted(unprepared, key=lambda job: job.deadline)[:_PREPARED])
        self._finish_due()
        self._guarded(self._vote, [job for job in self._open if job.prepared])
        self._finish_due()

    def _run(self) -> None:
        while True:
            with self._change:
                while not (self._arrived or self._open or self._closing):
                    self._change.wait(_IDLE_SECONDS)
                if self._closing and not (self._arrived or self._open):
                    return
            try:
                self.round()
            except Exception as error:  # not of the model: the thread must live on, and nobody wait for ever
                for job in list(self._open):
                    self._fail(job, error)

    def _guarded(self, work: Callable[[Sequence[Job]], None], jobs: Sequence[Job]) -> None:
        """Do `work` for all jobs; where that fails, for each by itself, so that one cannot take the others along."""
        if not jobs:
            return
        try:
            work(jobs)
        except Exception as error:
            if len(jobs) == 1:
                self._fail(jobs[0], error)
                return
            log.warning("a batch failed (%s); its questions go on one by one", type(error).__name__)
            for job in list(jobs):
                self._guarded(work, [job])

    def _fail(self, job: Job, error: Exception) -> None:
        log.error("a question failed: %s", trace(error))
        self._open.remove(job)
        job.answered.set_exception(error)

    def _prepare(self, jobs: Sequence[Job]) -> None:
        """What the model says without noise: to the image, to a blank one, and in words. Skipped once time is up."""
        in_time = [job for job in jobs if self.clock() < job.deadline]
        said = self.voter.choices([view for job in in_time for view in (job.view, job.blank)]) if in_time else []
        thinking = [job for job in in_time if job.thinking is not None]
        replies = self.voter.replies([job.thinking for job in thinking if job.thinking is not None]) if thinking else []
        for number, job in enumerate(in_time):
            job.clean_answer, job.blank_answer = said[2 * number : 2 * number + 2]
        for job, reply in zip(thinking, replies, strict=True):
            job.reply = reply
        for job in jobs:
            job.prepared = True

    def _vote(self, jobs: Sequence[Job]) -> None:
        chosen, requests = self._requests(jobs)
        if not requests:
            return
        started = self.clock()
        counts = self.voter.draw(requests)
        rows = sum(request.count for request in requests)
        self._time_row((self.clock() - started) / rows)
        self._metrics.batch(rows)
        for job, request, votes in zip(chosen, requests, counts, strict=True):
            try:
                self._credit(job, request, votes)
            except Exception as error:
                self._fail(job, error)

    def _requests(self, jobs: Sequence[Job]) -> tuple[list[Job], list[Draws]]:
        """At most one batch of noisy copies, no question beyond its next look."""
        chosen, requests, room = [], [], self._batch
        for job in sorted(jobs, key=lambda job: (0 if job.looked is None else job.looked.n, job.deadline)):
            count = min(room, job.scheme.step(job.tally).draws)
            if count:
                chosen.append(job)
                requests.append(Draws(job.view, job.seed, job.tally.n0 + job.tally.n, count))
                room -= count
        return chosen, requests

    def _credit(self, job: Job, request: Draws, votes: Votes) -> None:
        if len(votes) != request.count:
            raise RuntimeError(f"{request.count} noisy copies gave {len(votes)} votes")
        job.tally = job.scheme.add(job.tally, tallied(self.voter.classes(job.view.item), votes))
        if job.tally.n in job.scheme.plan.looks:
            job.looked = job.tally

    def _finish_due(self) -> None:
        for job in list(self._open):
            stopped = self._stopped(job)
            if stopped is not None:
                self._open.remove(job)
                job.answered.set_result(self._verdict(job, stopped))

    def _stopped(self, job: Job) -> Stopped | None:
        step = job.scheme.step(job.tally)
        if step.stop is not None:
            return step.stop
        # A further look that this question could not reach even alone is not begun; a first one always is, so that a
        # wrong estimate of the time corrects itself.
        needed = 0.0 if job.looked is None else self.seconds_for(step.draws)
        return "deadline" if self.clock() + needed >= job.deadline else None

    def _verdict(self, job: Job, stopped: Stopped) -> Verdict:
        item = job.view.item
        certificate = None if job.looked is None else certify(job.scheme, item.id, job.looked)
        won = None if certificate is None else certificate.predicted
        # What is no option (an unparsed reply) may win the vote; that is no answer.
        answer = won if won in item.options else None
        return Verdict(answer, certificate, stopped, job.clean_answer, job.blank_answer, job.reply)

    def _time_row(self, seconds: float) -> None:
        old = self._row_seconds
        self._row_seconds = seconds if old == 0 else old + _SMOOTHING * (seconds - old)
