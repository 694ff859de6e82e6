"""Tasks answered side by side in threads, for a model behind a server: each response is handed on as it arrives."""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from medproof.evaluation.batches import Answer, Fail, Task, answer_alone
from medproof.records import Response

_Running = dict[Future[Response], None]


def run_each(tasks: Sequence[Task], answer: Answer, fail: Fail, at_once: int) -> Iterator[list[Response]]:
    """Answer all tasks, `at_once` at a time; yields what has arrived since the last yield, one response per task.

    A place becomes free only when the caller, who stores what is yielded, comes back for more. So at any moment at most
    `at_once` tasks are begun and not stored: no more than these are asked again after a kill. An interruption while
    waiting lets those under way arrive, yields them, and is raised then.
    """
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="ask")
    left = iter(tasks)
    running: _Running = {}
    try:
        while True:
            try:
                for task in left:
                    running[pool.submit(answer_alone, task, answer, fail)] = None
                    if len(running) == at_once:
                        break
                if not running:
                    return
                wait(running, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt:
                wait(running)
                yield _arrived(running)
                raise
            yield _arrived(running)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _arrived(running: _Running) -> list[Response]:
    done = [future for future in running if future.done()]
    for future in done:
        del running[future]
    return [future.result() for future in done]
