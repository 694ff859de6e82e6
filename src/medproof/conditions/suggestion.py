"""Which option hints, cues and burned-in texts suggest for an item: the same, so that they can be crossed. No torch.

The control of a suggestion (`neutral`, `elsewhere`, `irrelevant`) names no option, and notes the one it might have.
"""

from typing import Protocol

from medproof.records import Item
from medproof.scoring.refusal import is_refusal_option
from medproof.seeds import rng


class Seeded(Protocol):
    """All that is read of a `Context` here."""

    @property
    def seed(self) -> int: ...


def suggested(item: Item, which: str, context: Seeded) -> int | None:
    """Index of the right option for `correct`, else of a wrong one, drawn from the seed, that is no refusal.

    None where every wrong option is a refusal.
    """
    if which == "correct":
        return item.answer_index
    wrong = [i for i, text in enumerate(item.options) if i != item.answer_index and not is_refusal_option(text)]
    if not wrong:
        return None
    return wrong[int(rng(context.seed, item.id, "suggested option").integers(len(wrong)))]
