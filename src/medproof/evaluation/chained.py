"""Steps of a chain that hang together: chunks of whole chains, and turns."""

from collections.abc import Iterable, Iterator, Sequence
from graphlib import TopologicalSorter

from medproof.conditions import Context, order_of
from medproof.conditions.kind import Order
from medproof.conditions.protocols import chains_of, room
from medproof.records import Condition, Decoding, Item, Response


class Chained:
    """What the loop asks about the chains of a run."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def order(self, condition: Condition) -> Order:
        """How the items of a chain wait for each other under `condition`."""
        return order_of(condition)

    def earlier(self, item: Item) -> Sequence[Item]:
        """The steps that `item` builds on, in order."""
        return chains_of(self._context).earlier.get(item.id, ())

    def decoding(self, condition: Condition, decoding: Decoding) -> Decoding:
        """With room for all answers where one reply holds them."""
        return room(decoding, self._context) if self.order(condition) == "together" else decoding

    def hear(self, condition: Condition, responses: Iterable[Response]) -> None:
        """Remember what later steps build on."""
        known = self._context.replies.setdefault(condition.key, {})
        good = (r for r in responses if r.error is None and r.condition == condition.key)
        known.update((response.item_id, response) for response in good)

    def turns(self, items: Sequence[Item]) -> Iterator[list[Item]]:
        """`items` in groups, each behind the groups that it builds on."""
        by_id = {item.id: item for item in items}
        graph = {name: [e.id for e in self.earlier(item) if e.id in by_id] for name, item in by_id.items()}
        sorter = TopologicalSorter(graph)
        sorter.prepare()
        while sorter.is_active():
            ready = set(sorter.get_ready())
            yield [item for name, item in by_id.items() if name in ready]
            sorter.done(*ready)


def whole_cases(items: Iterable[Item], size: int) -> list[list[Item]]:
    """Chunks of about `size` items that tear no case apart, so that a claim takes whole chains."""
    cases: dict[str, list[Item]] = {}
    for item in items:
        cases.setdefault(item.case, []).append(item)
    chunks: list[list[Item]] = []
    for case in cases.values():
        if chunks and len(chunks[-1]) + len(case) <= size:
            chunks[-1].extend(case)
        else:
            chunks.append(case)
    return chunks
