"""What a condition may look at while it makes views."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from medproof.records import Condition, Item, Mode, Response, View
from medproof.seeds import derive_seed

if TYPE_CHECKING:
    from medproof.datasets import Dataset
    from medproof.models.protocol import Model

Pixels = npt.NDArray[np.uint8]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Context:
    """One run: its data set, seed, mode and model, and how an item's image is read.

    `load` gives uint8 (H, W, 3) on the model's grid, maybe read-only; conditions never write to it. Safe to share
    between threads.
    """

    dataset: "Dataset"
    seed: int
    mode: Mode
    model: "Model"
    load: Callable[[Item], Pixels]
    replies: dict[str, dict[str, Response]] = field(default_factory=dict, repr=False)
    """by condition key and item id: what the model has replied so far, where the condition builds on it"""
    _plans: dict[str, Any] = field(default_factory=dict, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def plan(self, name: str, make: Callable[[], T]) -> T:
        """What a condition works out once for the whole run, such as who swaps images with whom. May be nested."""
        with self._lock:
            if name not in self._plans:
                self._plans[name] = make()
            return cast(T, self._plans[name])

    def item_seed(self, item: Item, condition: Condition) -> int:
        """The seed of one item under one condition: independent of order, batch and worker."""
        return derive_seed(self.seed, item.id, condition.key)

    def view(
        self,
        item: Item,
        condition: Condition,
        image: Pixels | None,
        info: Mapping[str, float] | None = None,
    ) -> View:
        """The item's usual question beside `image`; with None, the question without any image."""
        from medproof.models.prompts import messages

        asked = messages(item, self.mode, image=image is not None)
        return View(item, condition.key, self.mode, asked, image, info or {})
