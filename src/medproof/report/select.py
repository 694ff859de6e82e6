"""Which cases the page shows: all of a small run, a fixed stratified choice of a large one."""

import hashlib
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from itertools import cycle

from medproof.records import Item, Outcome

MAX_CASES = 240
FLIP, WRONG, ODD, KEPT = "flip", "wrong", "odd", "kept"
_TURNS = (FLIP, WRONG, FLIP, ODD, FLIP, WRONG, KEPT)
"""Order in which the classes take turns: flips and errors are shown more often than they occur."""


def story(outcomes: Mapping[str, Outcome], attacks: Sequence[str]) -> str:
    """What happened to one item in one run.

    `flip`: right on the clean image, not right under an attack. `odd`: unparsed, abstained or failed on the clean
    image, or no clean answer. `wrong`: wrong on the clean image. `kept`: the rest.
    """
    clean = outcomes.get("clean")
    if clean is None or clean.status in ("unparsed", "abstain", "error"):
        return ODD
    if clean.status == "wrong":
        return WRONG
    flipped = any(key in outcomes and outcomes[key].status != "correct" for key in attacks)
    return FLIP if flipped else KEPT


def most_telling(stories: Sequence[str]) -> str:
    """Of one item over several runs."""
    return next((kind for kind in (FLIP, ODD, WRONG) if kind in stories), KEPT)


def ranked(items: Sequence[Item], stories: Mapping[str, str]) -> list[Item]:
    """All items, the order in which they are taken while there is room.

    Classes take turns by `_TURNS`; within a class the modalities take turns; within a modality the order is that of a
    hash of the item's id. The same items and outcomes give the same order on every machine.
    """
    shelves: dict[str, dict[str, deque[Item]]] = defaultdict(dict)
    for item in sorted(items, key=lambda item: hashlib.sha256(item.id.encode()).digest()):
        shelves[stories[item.id]].setdefault(item.modality, deque()).append(item)
    queues = {kind: _in_turns(shelves[kind]) for kind in (FLIP, WRONG, ODD, KEPT)}
    order: list[Item] = []
    for kind in cycle(_TURNS):
        if len(order) == len(items):
            return order
        if queues[kind]:
            order.append(queues[kind].popleft())
    raise AssertionError("cycle() of a non-empty tuple does not end")


def whole_chains(items: Sequence[Item]) -> list[Item]:
    """The steps of one case side by side, where the first of them stands, from stage to stage; others as they are."""
    steps: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        steps[item.case if item.stage else f"\0{item.id}"].append(item)
    return [item for case in steps.values() for item in sorted(case, key=lambda item: (item.stage or "", item.id))]


def _in_turns(shelf: dict[str, deque[Item]]) -> deque[Item]:
    queues = [shelf[modality] for modality in sorted(shelf)]
    line: deque[Item] = deque()
    while any(queues):
        line.extend(queue.popleft() for queue in queues if queue)
    return line
