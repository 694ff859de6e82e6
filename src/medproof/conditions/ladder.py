"""`union`: several attacks one after the other, cheap to dear, each on the views whose reply all before left right.

The verdict is always the real reply to the 8-bit image. So the union of a view is the minimum over the members, and
members after the first that succeeded need not run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from medproof.attacks import ThreatModel, pgd
from medproof.attacks.pgd import apgd
from medproof.attacks.search import Search
from medproof.conditions.attacked import Batch, Found
from medproof.conditions.black_box import run_square
from medproof.conditions.context import Context
from medproof.conditions.distances import budget
from medproof.conditions.kind import Arguments
from medproof.conditions.objectives import Aim, attack
from medproof.conditions.white_box import one_step, threat_of
from medproof.records import Condition, Mode, View

CLEAN = "clean"
"""The first member: the reply to the image itself. A view it fells is attacked no further."""
QUERIES_PER_STEP = 10
"""Queries of Square for each step of the others; a query costs less than half of a step, and is worth less."""


@dataclass(frozen=True)
class Member:
    """One attack of the ladder. at_slot: its losses are option margins where the reply has its answer."""

    attack: str
    objective: str
    at_slot: bool = True

    @property
    def name(self) -> str:
        return self.attack if self.attack == self.objective else f"{self.attack}_{self.objective}"


_SQUARE = Member("square", "square")
_ANSWER_FIRST = (
    Member("fgsm", "margin"),
    Member("pgd", "margin"),
    Member("apgd", "margin"),
    Member("pgd", "answer", at_slot=False),
    Member("apgd", "targeted"),
    Member("pgd", "stop", at_slot=False),
    Member("pgd", "encoder", at_slot=False),
    _SQUARE,
)
_REASON_FIRST = (
    Member("fgsm", "opening", at_slot=False),
    Member("pgd", "opening", at_slot=False),
    Member("pgd", "rationale"),
    Member("pgd", "answer", at_slot=False),
    Member("apgd", "targeted"),
    Member("pgd", "stop", at_slot=False),
    Member("pgd", "refreshed"),
    Member("pgd", "sampled"),
    Member("pgd", "encoder", at_slot=False),
    _SQUARE,
)


def ladder(mode: Mode) -> tuple[Member, ...]:
    """The members in order."""
    return _REASON_FIRST if mode == "think" else _ANSWER_FIRST


def union_views(views: Sequence[View], condition: Condition, given: Arguments, context: Context) -> list[View]:
    """`union(norm, eps, steps)`.

    The image is that of the member that succeeded; else the one with the largest option margin at the answer slot.
    """
    batch = Batch(views, condition, context)
    if not views:
        return []
    threat, steps = threat_of(given), int(given["steps"])
    right = batch.read_clean(batch.everyone)
    kept = [Found(image.cpu(), float("-inf"), not ok, decoded_success=not ok) for image, ok in zip(batch.clean, right)]
    verdicts = [{CLEAN: ok} for ok in right]
    for member in ladder(context.mode) if threat.budget else ():
        left = [i for i in batch.everyone if not kept[i].decoded_success]
        if not left:
            break
        results = _run(member, batch, left, threat, steps)
        batch.judge(left, results)
        for i, result in zip(left, results, strict=True):
            verdicts[i][member.name] = not result.decoded_success
            kept[i] = _better(kept[i], result, member)

    def told(i: int) -> dict[str, float]:
        return {f"member_{name}": float(survived) for name, survived in verdicts[i].items()}

    return batch.shown(kept, {**budget(given), "steps": float(steps)}, told)


def _run(member: Member, batch: Batch, which: Sequence[int], threat: ThreatModel, steps: int) -> list[Found]:
    """What one member finds, with seeds of its own."""
    if member is _SQUARE:
        return run_square(batch, which, threat, QUERIES_PER_STEP * steps, purpose=member.name)
    searches: dict[str, Search] = {
        "fgsm": one_step,
        "pgd": partial(pgd, steps=steps),
        "apgd": partial(apgd, steps=steps),
    }
    return attack(batch, which, Aim(member.objective), searches[member.attack], threat, purpose=member.name)


def _better(before: Found, result: Found, member: Member) -> Found:
    """The one to keep, with the costs of both."""
    wins = result.decoded_success or (member.at_slot and result.loss > before.loss)
    kept, dropped = (result, before) if wins else (before, result)
    kept.add_cost(dropped)
    return kept
