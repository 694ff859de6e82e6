"""Votes for every item until its plan is decided, into a run that survives anything.

    items enter image by image, claimed from other workers; a window of images is under way at once
    each round: every item under way gets its next draws, in full batches; the votes are logged, then counted
    an item whose plan has decided leaves, and the next image enters

Only logged votes count, and draw d of an item is the same draw whenever it is made. So certificates do not depend on
interruptions, order or number of workers, as far as the model's arithmetic does not (see `VoteEngine`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medproof.errors import UserError
from medproof.evaluation.batches import reason
from medproof.evaluation.images import Pixels
from medproof.evaluation.interrupt import Interrupts
from medproof.models.prompts import messages
from medproof.records import Item, Mode, View
from medproof.runs.keys import response_key
from medproof.runs.store import RunStore
from medproof.smoothing.certificate import replay
from medproof.smoothing.counts import CountLog, Row, Stream, labels, written
from medproof.smoothing.noise import noise_key
from medproof.smoothing.scheme import Scheme, Tally
from medproof.smoothing.votes import BLOCK, Draws, VoteEngine, Votes

if TYPE_CHECKING:
    from medproof.datasets import Dataset
    from medproof.records import Certificate
    from medproof.runs.certificates_file import CertificateSet

CHUNK = 8 * BLOCK
"""The most draws of an item in one round: what a crash may cost it."""
_WINDOW = 4
"""Images under way for each image in a batch: enough that batches stay full while items differ in progress."""


@dataclass
class CertifySummary:
    """What a call did: items by how they came out, and draws made. `errors`: item id -> reason."""

    decided: int = 0
    present: int = 0
    """decided by votes that were logged before"""
    elsewhere: int = 0
    """left to other workers that hold their claims"""
    errors: dict[str, str] = field(default_factory=dict)
    draws: int = 0
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        return not (self.interrupted or self.elsewhere or self.errors)


@dataclass(frozen=True)
class CertifyProgress:
    """`done` of `total` decisions after `seconds`; `draws` made for them in this call."""

    done: int
    total: int
    draws: int
    seconds: float


@dataclass
class _Job:
    """An item under way: `next` is its first draw not yet made."""

    stream: Stream
    view: View
    classes: tuple[str, ...]
    tally: Tally
    next: int = 0


def certify_items(
    engine: VoteEngine,
    scheme: Scheme,
    dataset: Dataset,
    store: RunStore,
    *,
    mode: Mode,
    seed: int,
    load: Callable[[Item], Pixels],
    progress: Callable[[CertifyProgress], None] | None = None,
) -> CertifySummary:
    """Draw and log what the plan of each item still needs.

    mode: how a reasoning model is asked. Ctrl-C and SIGTERM end the call early with `interrupted`; everything logged is
    kept. Raises UserError when the disk is full, and before any draw where the plan cannot prove anything.
    """
    for classes in {len(engine.classes(item)) for item in dataset.items}:
        scheme.check(classes)
    loop = _Loop(engine, scheme, dataset.items, store, mode, seed, load, progress or (lambda _: None))
    return loop.run()


class _Loop:
    def __init__(
        self,
        engine: VoteEngine,
        scheme: Scheme,
        items: Sequence[Item],
        store: RunStore,
        mode: Mode,
        seed: int,
        load: Callable[[Item], Pixels],
        progress: Callable[[CertifyProgress], None],
    ) -> None:
        self.engine, self.scheme, self.items, self.store = engine, scheme, items, store
        self.mode, self.seed, self.load, self.progress = mode, seed, load, progress
        self.log = CountLog(store.path)
        self.summary = CertifySummary()
        self.interrupts = Interrupts()
        self.start = time.perf_counter()

    def run(self) -> CertifySummary:
        with self.interrupts:
            try:
                # Once more over what other workers had: it is decided by now, or free where one of them died.
                self._pass(self._pass(self.items))
            except KeyboardInterrupt:
                self.summary.interrupted = True
            finally:
                with self.interrupts.deferred():
                    self.store.release()
        self.summary.seconds = time.perf_counter() - self.start
        return self.summary

    def _pass(self, items: Sequence[Item]) -> list[Item]:
        """Decide these items; returns those left to other workers."""
        left: list[Item] = []
        self.summary.elsewhere = 0
        arriving = self._arriving(items, left)
        active: list[_Job] = []
        window = _WINDOW * max(1, self.engine.batch // BLOCK)
        self._report()
        while True:
            while len({job.stream.image for job in active}) < window and (group := next(arriving, None)) is not None:
                active.extend(group)
            if not active:
                self.summary.elsewhere = len(left)
                return left
            self._round(active)
            still = [job for job in active if self.scheme.step(job.tally).draws]
            still = [job for job in still if job.view.item.id not in self.summary.errors]
            failed = sum(job.view.item.id in self.summary.errors for job in active)
            self.summary.decided += len(active) - len(still) - failed
            active = still
            self._report()

    def _arriving(self, items: Sequence[Item], left: list[Item]) -> Iterator[list[_Job]]:
        """The undecided items of one image after another, claimed."""
        images: dict[tuple[str, int | None, str | None], list[Item]] = {}
        for item in items:
            images.setdefault((item.image, item.frame, item.window), []).append(item)
        for several in images.values():
            jobs = [job for item in several if (job := self._job(item)) is not None]
            with self.interrupts.deferred():
                won = set(self.store.claim([job.stream.key for job in jobs])) if jobs else set()
            left.extend(job.view.item for job in jobs if job.stream.key not in won)
            # Read after the claim: whoever had it before has logged all its votes by now.
            self.log.refresh()
            mine = [job for job in jobs if job.stream.key in won]
            for job in mine:
                self._replay(job)
            undecided = [job for job in mine if self.scheme.step(job.tally).draws]
            self.summary.present += len(mine) - len(undecided)
            if undecided:
                yield undecided

    def _job(self, item: Item) -> _Job | None:
        try:
            view = View(item, "clean", self.mode, messages(item, self.mode), self.load(item))
            classes = self.engine.classes(item)
            return _Job(stream_of(self.engine, view, self.seed), view, classes, self.scheme.start(classes))
        except Exception as error:
            self.summary.errors[item.id] = reason(error)
            return None

    def _replay(self, job: _Job) -> None:
        """Count the votes that are logged already, as far as the plan takes them."""
        votes = labels(self.log.votes(job.stream.key), job.classes)
        while job.next < len(votes) and (room := self.scheme.step(job.tally).draws):
            self._count(job, votes[job.next : job.next + room])

    def _count(self, job: _Job, votes: Sequence[str]) -> None:
        job.tally = self.scheme.add(job.tally, {label: votes.count(label) for label in set(votes)})
        job.next += len(votes)

    def _round(self, active: Sequence[_Job]) -> None:
        """The next draws of every item under way."""
        counts = [min(self.scheme.step(job.tally).draws, CHUNK) for job in active]
        requests = [
            Draws(job.view, noise_key(self.seed, job.stream.image, self.engine.sigma), job.next, count)
            for job, count in zip(active, counts, strict=True)
        ]
        drawn = [(job, votes) for job, votes in zip(active, self._draw(requests), strict=True) if votes is not None]
        rows = [Row(job.stream, job.next, written(votes, len(job.view.item.options))) for job, votes in drawn]
        with self.interrupts.deferred():
            if rows:
                self.log.append(rows, self.store.worker)
        for (job, _), row in zip(drawn, rows, strict=True):
            self._count(job, labels(row.votes, job.classes))
            self.summary.draws += len(row.votes)

    def _draw(self, requests: Sequence[Draws]) -> list[Votes | None]:
        """The votes; where drawing fails, request by request, None for the guilty ones."""
        try:
            return list(self.engine.draw(requests))
        except UserError:
            raise
        except Exception as error:
            if len(requests) == 1:
                self.summary.errors[requests[0].view.item.id] = reason(error)
                return [None]
        return [votes for request in requests for votes in self._draw([request])]

    def _report(self) -> None:
        summary = self.summary
        done = summary.decided + summary.present + len(summary.errors)
        self.progress(CertifyProgress(done, len(self.items), summary.draws, time.perf_counter() - self.start))


def stream_of(engine: VoteEngine, view: View, seed: int) -> Stream:
    """What the votes of a view are logged under. The key covers all that decides them."""
    image = view.pixels_sha256
    noise = f"smoothed(sigma={engine.sigma!r},base={engine.base},rounded={engine.rounded})"
    model, decoding = engine.model, engine.decoding(view)
    key = response_key(
        view.item, image, view.messages_json, noise, seed, decoding, model.weights_hash, model.processor_hash
    )
    height, width = view.image.shape[:2] if view.image is not None else (0, 0)
    return Stream(key, view.item.id, image, height, width, engine.sigma, engine.base, engine.rounded)


def certificates_from_counts(
    store: RunStore, scheme: Scheme, *, base: str, rounded: bool
) -> tuple[CertificateSet, list[str]]:
    """What the logged votes prove under a scheme, without a model; and the ids of the items whose votes end too early.

    An item whose votes reach a look of the plan, but not its decision, gets the certificate of that look.
    """
    from medproof.runs.certificates_file import CertificateSet
    from medproof.smoothing.votes import UNPARSED

    log = CountLog(store.path)
    log.refresh()
    streams = {s.item_id: s for s in log.streams() if (s.sigma, s.base, s.rounded) == (scheme.sigma, base, rounded)}
    certificates: list[Certificate] = []
    short: list[str] = []
    for item in store.items():
        stream = streams.get(item.id)
        classes = item.options if base == "option_argmax" else (*item.options, UNPARSED)
        try:
            votes = [] if stream is None else labels(log.votes(stream.key), classes)
            made = replay(scheme, item.id, classes, votes)
        except ValueError:
            short.append(item.id)
            continue
        certificates.append(made)
        if made.stop == "open":
            short.append(item.id)
    used = [streams[certificate.item_id] for certificate in certificates]
    pictures = {stream.item_id: (stream.image, stream.height, stream.width) for stream in used}
    return CertificateSet(base, rounded, tuple(certificates), pictures), short
