"""Item -> View -> Response, for every item under every condition, into a run that survives anything.

    for each condition, in order
        for each chunk of items        prepared in threads, one chunk ahead
            drop what is present or another worker's, claim the rest
            for each batch             by tokens, equal sizes together
                perturb, generate, read the options, append

Where the steps of a chain hang together (`conditions.protocols`), a chunk holds whole chains: its items are taken turn
by turn, each when those it builds on are stored, or one reply answers all steps of a chain and is stored as a whole.

Results do not depend on order, chunk, batch or number of workers, as long as the model's do not depend on the batch.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medproof.conditions import arguments
from medproof.conditions.kind import Order
from medproof.evaluation.batches import Budget, Task, reason, run
from medproof.evaluation.chained import Chained, whole_cases
from medproof.evaluation.each import run_each
from medproof.evaluation.images import ImageLoader
from medproof.evaluation.interrupt import Interrupts
from medproof.evaluation.prepare import Conditioner, Prepared, conditioner, prepare_ahead
from medproof.evaluation.progress import ConditionSummary, Progress, Summary
from medproof.evaluation.respond import Responder, failed
from medproof.evaluation.shared_calls import Followers, share_calls, spread
from medproof.models.protocol import Model
from medproof.records import Condition, Decoding, Item, Mode, Response
from medproof.runs.keys import response_key
from medproof.runs.store import RunStore

if TYPE_CHECKING:
    from medproof.datasets import Dataset

BATCH_TOKENS = 8192
CHUNK = 128
_COMPACT_DURING = 64
_COMPACT_AT_END = 8


def evaluate(
    model: Model,
    dataset: "Dataset",
    conditions: Sequence[Condition],
    store: RunStore,
    *,
    mode: Mode,
    seed: int,
    batch_tokens: int = BATCH_TOKENS,
    progress: Callable[[Progress], None] | None = None,
    decoding: Decoding | None = None,
    forced_choice: bool | None = None,
    allow_identified: bool = False,
    chunk: int = CHUNK,
    threads: int | None = None,
    how: Conditioner | None = None,
) -> Summary:
    """Answer what `store` (a created run) does not hold yet.

    batch_tokens: the most tokens in a batch, rows x longest row; halved, for good, when memory runs out.
    forced_choice: also store option log-probabilities; by default in direct mode where the model has them.
    chunk: items prepared and claimed at a time. threads: for decoding and preparing, by default up to 4.
    how: the conditions' functions, by default those of `medproof.conditions`.

    An item that fails becomes an `error` response with its reason; the next call tries it again. Ctrl-C and SIGTERM
    end the call early with `Summary.interrupted`. Raises UserError when the disk is full, and before any work where the
    model cannot run a condition. In every case what was answered is kept, all claims are given up, and the same call
    goes on where this one ended.
    """
    unique = list({condition.key: condition for condition in conditions}.values())
    told: dict[str, dict[str, str]] = {}
    if how is None:
        told = {condition.key: dict(arguments(condition)) for condition in unique}
        load = ImageLoader(dataset, model.grid, allow_identified=allow_identified)
        how = conditioner(unique, dataset=dataset, seed=seed, mode=mode, model=model, load=load)
    reads_options = hasattr(model, "option_logprobs")
    loop = _Loop(
        model=model,
        items=dataset.items,
        store=store,
        mode=mode,
        seed=seed,
        decoding=decoding or model.decoding(mode),
        how=how,
        forced_choice=reads_options and (mode == "direct" if forced_choice is None else forced_choice),
        chunk=max(1, chunk),
        progress=progress or _silent,
        budgets={True: Budget(batch_tokens), False: Budget(batch_tokens)},
        interrupts=Interrupts(),
        arguments=told,
    )
    return loop.run(unique, threads or min(4, os.cpu_count() or 1))


@dataclass
class _Loop:
    model: Model
    items: Sequence[Item]
    store: RunStore
    mode: Mode
    seed: int
    decoding: Decoding
    how: Conditioner
    forced_choice: bool
    chunk: int
    progress: Callable[[Progress], None]
    budgets: dict[bool, Budget]
    """by whether the condition attacks: gradients take more memory"""
    interrupts: Interrupts
    arguments: dict[str, dict[str, str]]
    """of each condition, defaults filled in: stored beside its key, which leaves them out"""

    def run(self, conditions: Sequence[Condition], threads: int) -> Summary:
        start = time.perf_counter()
        summary = Summary({condition.key: ConditionSummary() for condition in conditions})
        keys = [condition.key for condition in conditions]
        self.store.update_meta(lambda meta: _with_conditions(meta, keys, self.arguments))
        with self.interrupts:
            try:
                with self._claims_given_up(), _pool(threads) as pool:
                    self._all(conditions, summary, pool)
            except KeyboardInterrupt:
                summary.interrupted = True
        summary.seconds = time.perf_counter() - start
        return summary

    def _all(self, conditions: Sequence[Condition], summary: Summary, pool: ThreadPoolExecutor) -> None:
        items = self._rotated()
        left: dict[str, list[Item]] = {}
        for condition in conditions:
            counts = summary.conditions[condition.key]
            left[condition.key] = _Pass(self, condition, items, counts).run(pool)
            self._note_not_applicable(condition, counts.not_applicable)
            self._compact(_COMPACT_DURING)
        # Once more over what other workers had: it is present by now, or free where one of them died.
        for condition in conditions:
            if left[condition.key]:
                counts = summary.conditions[condition.key]
                counts.elsewhere = 0
                _Pass(self, condition, left[condition.key], counts).run(pool)
        self._compact(_COMPACT_AT_END)

    def _rotated(self) -> Sequence[Item]:
        """Workers start at different places, so that they seldom meet: the n-th at n times the golden ratio."""
        with self.interrupts.deferred():
            _ = self.store.worker  # enter first: who comes next counts this one
            others = self.store.other_workers()
        whole = (len(self.items) + self.chunk - 1) // self.chunk
        first = int(others * 0.618034 % 1.0 * whole) * self.chunk
        return [*self.items[first:], *self.items[:first]]

    def _note_not_applicable(self, condition: Condition, count: int) -> None:
        def change(meta: dict[str, Any]) -> dict[str, Any]:
            return {**meta, "not_applicable": {**meta.get("not_applicable", {}), condition.key: count}}

        with self.interrupts.deferred():
            self.store.update_meta(change)

    def _compact(self, at_least: int) -> None:
        with self.interrupts.deferred():
            self.store.compact(at_least)

    @contextmanager
    def _claims_given_up(self) -> Iterator[None]:
        """However the block ends, the claims end with it."""
        try:
            yield
        finally:
            with self.interrupts.deferred():
                self.store.release()


class _Pass:
    """One condition over some items."""

    def __init__(self, loop: _Loop, condition: Condition, items: Sequence[Item], counts: ConditionSummary) -> None:
        self.loop = loop
        self.condition = condition
        self.items = items
        self.counts = counts
        self.present = loop.store.present_keys()
        self.left: list[Item] = []
        self.budget = loop.budgets[loop.how.needs_attack(condition)]
        self.chained = loop.how.chained
        self.order: Order = "any" if self.chained is None else self.chained.order(condition)
        self.decoding = loop.decoding if self.chained is None else self.chained.decoding(condition, loop.decoding)
        self.followers: Followers = {}
        self.responder = Responder(
            model=loop.model,
            condition=condition,
            how=loop.how,
            mode=loop.mode,
            decoding=self.decoding,
            seed=loop.seed,
            # A reply to several questions has no one answer slot.
            forced_choice=loop.forced_choice and self.order != "together",
            worker=loop.store.worker,
        )
        self.start = time.perf_counter()
        self.done = self.skipped = len(loop.items) - len(items)

    def run(self, pool: ThreadPoolExecutor) -> list[Item]:
        """Answer what is this worker's to answer; returns the items left to other workers."""
        self._report()
        for prepared in self._prepared(pool):
            self._chunk(prepared)
        return self.left

    def _prepared(self, pool: ThreadPoolExecutor) -> Iterator[list[Prepared]]:
        step, how, chained = self.loop.chunk, self.loop.how, self.chained
        if chained is None or self.order == "any":
            chunks = [self.items[start : start + step] for start in range(0, len(self.items), step)]
            yield from prepare_ahead(self.condition, chunks, how, pool)
        elif self.order == "together":
            yield from prepare_ahead(self.condition, whole_cases(self.items, step), how, pool)
        else:
            chained.hear(self.condition, self.loop.store.responses())  # of earlier calls and other workers
            for chunk in whole_cases(self.items, step):
                for turn in chained.turns(chunk):
                    yield from prepare_ahead(self.condition, [self._not_waiting(turn, chained)], how, pool)

    def _not_waiting(self, turn: Sequence[Item], chained: Chained) -> list[Item]:
        """Without the items that build on one which is left to another worker: these are left too."""
        left = {item.id for item in self.left}
        waiting = [item for item in turn if any(earlier.id in left for earlier in chained.earlier(item))]
        for item in waiting:
            self._leave(item)
        return [item for item in turn if item not in waiting]

    def _chunk(self, chunk: Sequence[Prepared]) -> None:
        candidates: dict[str, Prepared] = {}
        for prepared in chunk:
            if prepared.applies:
                candidates[self._key(prepared)] = prepared
            else:
                self.counts.not_applicable += 1
                self._skip()
        mine = self._claim(candidates)
        if self.order == "together":
            mine, self.followers = share_calls(mine)
        tasks = [self._task(key, prepared) for key, prepared in mine.items()]
        bad = [task for task in tasks if isinstance(task, Response)]
        if bad:
            self._append(spread(bad, self.followers))
        good = [task for task in tasks if isinstance(task, Task)]
        for responses in self._responses(good):
            self._append(spread(responses, self.followers))

    def _responses(self, tasks: Sequence[Task]) -> Iterator[list[Response]]:
        """In batches; of a model that is asked from outside, each as it arrives."""
        answer, fail = self.responder.answer, self.responder.fail
        at_once: int | None = getattr(self.loop.model, "concurrency", None)
        if at_once is None:
            return run(tasks, answer, fail, self.budget)
        return run_each(tasks, answer, fail, at_once)

    def _key(self, prepared: Prepared) -> str:
        """The key of the view; of an item without one, a key of its own that only an `error` ever takes."""
        view, loop = prepared.view, self.loop
        return response_key(
            prepared.item,
            prepared.sha,
            "[]" if view is None else view.messages_json,
            self.condition.key,
            loop.seed,
            self.decoding,
            loop.model.weights_hash,
            loop.model.processor_hash,
        )

    def _claim(self, candidates: dict[str, Prepared]) -> dict[str, Prepared]:
        wanted = [key for key in candidates if key not in self.present]
        with self.loop.interrupts.deferred():
            won = set(self.loop.store.claim(wanted)) if wanted else set()
        for key, prepared in candidates.items():
            if key in self.present:
                self.counts.skipped += 1
                self._skip()
            elif key not in won:
                self._leave(prepared.item)
        return {key: prepared for key, prepared in candidates.items() if key in won}

    def _leave(self, item: Item) -> None:
        self.counts.elsewhere += 1
        self.left.append(item)
        self._skip()

    def _task(self, key: str, prepared: Prepared) -> Task | Response:
        """What to answer, or the `error` response of an item that cannot be."""
        error = prepared.error
        if prepared.view is not None:
            try:
                return Task(key, prepared.item, prepared.view, prepared.sha, self.loop.model.cost(prepared.view))
            except Exception as caught:
                error = reason(caught)
        return failed(
            key,
            prepared.item.id,
            self.condition,
            self.loop.mode,
            error or "no view",
            self.responder.worker,
            prepared.sha,
        )

    def _append(self, responses: Sequence[Response]) -> None:
        with self.loop.interrupts.deferred():
            self.loop.store.append(responses, self.responder.take_images())
            errors = sum(response.error is not None for response in responses)
            self.counts.errors += errors
            self.counts.done += len(responses) - errors
        if self.chained is not None and self.order == "in_turn":
            self.chained.hear(self.condition, responses)
        self.done += len(responses)
        self._report()

    def _skip(self) -> None:
        self.done += 1
        self.skipped += 1
        self._report()

    def _report(self) -> None:
        seconds = time.perf_counter() - self.start
        self.loop.progress(Progress(self.condition.key, self.done, len(self.loop.items), seconds, self.skipped))


def _silent(progress: Progress) -> None:
    """No progress asked for."""


def _with_conditions(meta: dict[str, Any], keys: Sequence[str], arguments: dict[str, dict[str, str]]) -> dict[str, Any]:
    told = {**meta.get("arguments", {}), **arguments}
    return {**meta, "conditions": list(dict.fromkeys([*meta.get("conditions", []), *keys])), "arguments": told}


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that are not waited for with work undone: on the way out what has not begun is dropped."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="prepare")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
