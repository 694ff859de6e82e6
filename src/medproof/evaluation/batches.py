"""Batches by token budget, smaller after out-of-memory, one by one after any other failure.

What a model returns for a view must not depend on the batch it stands in (`medproof doctor` measures that); then
nothing here changes a result.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from medproof.errors import UserError
from medproof.evaluation.memory import free_memory, is_out_of_memory
from medproof.records import Item, Response, View


@dataclass(frozen=True, eq=False)
class Task:
    """One prepared view to be answered. `cost` is in tokens (`Model.cost`)."""

    key: str
    item: Item
    view: View
    sha: str
    cost: int


@dataclass
class Budget:
    """The most tokens a batch may hold, counted as rows x longest row. It only ever shrinks."""

    tokens: int


Answer = Callable[[Sequence[Task]], list[Response]]
Fail = Callable[[Task, str], Response]


def in_order(tasks: Iterable[Task]) -> list[Task]:
    """Largest first, equal image sizes side by side: memory runs out early or not at all, and little is padding."""

    def place(task: Task) -> tuple[int, int, int, int, str]:
        height, width = (0, 0) if task.view.image is None else task.view.image.shape[:2]
        return -height * width, -height, -width, -task.cost, task.item.id

    return sorted(tasks, key=place)


def run(tasks: Iterable[Task], answer: Answer, fail: Fail, budget: Budget) -> Iterator[list[Response]]:
    """Answer all tasks; yields the responses of one batch at a time, one per task.

    Out of memory halves `budget` and goes on; at a batch of one it fails that task alone. Any other exception of a
    batch makes its tasks be answered one by one, so that only the guilty ones fail.
    """
    queue = deque(in_order(tasks))
    while queue:
        batch = _take(queue, budget.tokens)
        responses, error = _try(batch, answer)
        if responses is not None:
            yield responses
        elif len(batch) == 1:
            yield [fail(batch[0], error.reason)]
        elif error.out_of_memory:
            budget.tokens = _padded(batch) // 2
            queue.extendleft(reversed(batch))
        else:
            yield [answer_alone(task, answer, fail) for task in batch]


@dataclass(frozen=True)
class _Failure:
    reason: str
    out_of_memory: bool


def _try(batch: Sequence[Task], answer: Answer) -> tuple[list[Response] | None, _Failure]:
    """The responses, or why there are none. The exception itself is dropped, and with it what its frames hold."""
    try:
        responses = answer(batch)
        if len(responses) != len(batch):
            raise RuntimeError(f"{len(batch)} views were given {len(responses)} responses")
        return responses, _Failure("", False)
    except Exception as error:
        failure = _Failure(reason(error), is_out_of_memory(error))
    if failure.out_of_memory:
        free_memory()
    return None, failure


def answer_alone(task: Task, answer: Answer, fail: Fail) -> Response:
    responses, error = _try([task], answer)
    return responses[0] if responses is not None else fail(task, error.reason)


def _take(queue: deque[Task], tokens: int) -> list[Task]:
    batch = [queue.popleft()]
    longest = batch[0].cost
    while queue and max(longest, queue[0].cost) * (len(batch) + 1) <= tokens:
        longest = max(longest, queue[0].cost)
        batch.append(queue.popleft())
    return batch


def _padded(batch: Sequence[Task]) -> int:
    return max(task.cost for task in batch) * len(batch)


def reason(error: BaseException, limit: int = 300) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    line = text if isinstance(error, UserError) and text else f"{name}: {text}" if text else name
    return line if len(line) <= limit else line[: limit - 1] + "…"
