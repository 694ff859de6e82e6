"""Items to prepared views, in threads, one chunk ahead of the model."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medproof.evaluation.batches import reason
from medproof.evaluation.images import Pixels
from medproof.models.protocol import Model
from medproof.records import Condition, Item, Mode, View, pixels_sha256

if TYPE_CHECKING:
    from medproof.datasets import Dataset
    from medproof.evaluation.chained import Chained

_BLOCK = 8
"""Items a thread prepares at a time."""
_NO_PIXELS = pixels_sha256(None)


@dataclass(frozen=True)
class Conditioner:
    """How conditions make views: the functions of `medproof.conditions` with their context, or a test's own.

    `prepare` is called from threads. It gives one view per item, or None where the condition does not apply.
    """

    prepare: Callable[[Condition, Sequence[Item], Any], Sequence[View | None]]
    needs_attack: Callable[[Condition], bool]
    perturb: Callable[[Condition, Sequence[View], Any], Sequence[View]]
    context: Any
    chained: "Chained | None" = None
    """how steps of a chain wait for each other; None: no condition makes them"""


def conditioner(
    conditions: Sequence[Condition],
    *,
    dataset: "Dataset",
    seed: int,
    mode: Mode,
    model: Model,
    load: Callable[[Item], Pixels],
) -> Conditioner:
    """The functions of `medproof.conditions` over `dataset`. Raises UserError where `model` cannot run a condition."""
    from medproof.conditions import Context, check_model, needs_attack, perturb, prepare
    from medproof.evaluation.chained import Chained

    for condition in conditions:
        check_model(condition, model)
    context = Context(dataset=dataset, seed=seed, mode=mode, model=model, load=load)
    return Conditioner(prepare, needs_attack, perturb, context, Chained(context))


@dataclass(frozen=True, eq=False)
class Prepared:
    """An item with its view, or with the reason why there is none; neither where the condition does not apply."""

    item: Item
    view: View | None = None
    error: str | None = None
    sha: str = _NO_PIXELS
    """`pixels_sha256` of the view"""

    @property
    def applies(self) -> bool:
        return self.view is not None or self.error is not None


def prepare_ahead(
    condition: Condition, chunks: Sequence[Sequence[Item]], how: Conditioner, pool: ThreadPoolExecutor
) -> Iterator[list[Prepared]]:
    """One list per chunk, in order, while the chunk after it is being prepared."""

    def submit(chunk: Sequence[Item]) -> list[Future[list[Prepared]]]:
        blocks = [chunk[start : start + _BLOCK] for start in range(0, len(chunk), _BLOCK)]
        return [pool.submit(_prepare_block, condition, block, how) for block in blocks]

    ahead = [submit(chunk) for chunk in chunks[:1]]
    for number in range(len(chunks)):
        now = ahead.pop()
        if number + 1 < len(chunks):
            ahead.append(submit(chunks[number + 1]))
        yield [prepared for future in now for prepared in future.result()]


def _prepare_block(condition: Condition, items: Sequence[Item], how: Conditioner) -> list[Prepared]:
    """A block that fails is taken item by item, so that one bad image costs one item."""
    try:
        views = how.prepare(condition, items, how.context)
        if len(views) != len(items):
            raise RuntimeError(f"condition {condition.key} made {len(views)} views of {len(items)} items")
        shas = [_NO_PIXELS if view is None else view.pixels_sha256 for view in views]
        return [Prepared(item, view, sha=sha) for item, view, sha in zip(items, views, shas, strict=True)]
    except Exception as error:
        if len(items) == 1:
            return [Prepared(items[0], error=reason(error))]
    return [prepared for item in items for prepared in _prepare_block(condition, [item], how)]
