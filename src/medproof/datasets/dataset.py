"""A data set: items, the folder their images lie in, and the rows that were set aside."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Literal

from medproof.datasets.paths import inside
from medproof.datasets.quarantine import Quarantined
from medproof.errors import UserError
from medproof.records import Item
from medproof.seeds import derive_seed

SplitChoice = Literal["train", "test", "all"]


@dataclass(frozen=True)
class Dataset:
    """`root`: folder that image paths are relative to. `notes`: what a builder left out on purpose, one line each.

    `seed` decides which items `filter(limit=)` takes.
    """

    name: str
    root: Path
    items: tuple[Item, ...]
    quarantined: tuple[Quarantined, ...] = ()
    notes: tuple[str, ...] = ()
    seed: int = 0

    def __len__(self) -> int:
        return len(self.items)

    def filter(
        self,
        *,
        split: SplitChoice = "all",
        modality: str | None = None,
        question_type: str | None = None,
        limit: int | None = None,
    ) -> "Dataset":
        """Items that match; see `sample_items` for `limit`. Quarantined rows and notes stay. May be empty."""
        items = [
            item
            for item in self.items
            if split in ("all", item.split)
            and modality in (None, item.modality)
            and question_type in (None, item.question_type)
        ]
        if limit is not None:
            items = sample_items(items, limit, self.seed)
        return replace(self, items=tuple(items))

    def image_path(self, item: Item) -> Path:
        """The item's image file, resolved. Raises UserError where it leaves the root or is not there."""
        path = inside(self.root, item.image)
        if not path.is_file():
            raise UserError(
                f"image {item.image!r} of item {item.id!r} is not in {self.root}: give the folder that holds "
                "the images with --images ROOT"
            )
        return path

    def check_images(self) -> None:
        """Raise UserError unless every item's image file is there."""
        seen: set[str] = set()
        for item in self.items:
            if item.image not in seen:
                self.image_path(item)
                seen.add(item.image)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the sorted fingerprints of the items, hex: independent of their order."""
        lines = "\n".join(sorted(item.fingerprint() for item in self.items))
        return hashlib.sha256(lines.encode()).hexdigest()


def sample_items(items: Iterable[Item], limit: int, seed: int = 0) -> list[Item]:
    """`limit` items, spread over (split, modality, question type) in proportion, in their original order.

    A chain, the items of a case some of which name parents, is taken whole and counts under the question type of its
    last step; only the last chain taken may lack later steps, where `limit` ends it.
    Each stratum is put in an order fixed by seed and first item id; what has rank r in a stratum of n gets the place
    (r + 1/2) / n, and the lowest places win. So the same limit gives the same items, whatever the input order, and a
    smaller limit gives a subset of a larger one. Raises UserError for a limit below 1.
    """
    if limit < 1:
        raise UserError(f"limit {limit} leaves nothing to do: give 1 or more")
    items = list(items)
    strata: defaultdict[tuple[str, str, str], list[tuple[int, tuple[str, ...]]]] = defaultdict(list)
    for unit in _units(items):
        last = unit[-1]
        ids = tuple(item.id for item in unit)
        strata[last.split, last.modality, last.question_type].append((derive_seed(seed, ids[0], "limit"), ids))
    places = [
        ((rank + 0.5) / len(members), draw, ids)
        for members in strata.values()
        for rank, (draw, ids) in enumerate(sorted(members))
    ]
    chosen = set(islice(chain.from_iterable(ids for _, _, ids in sorted(places)), limit))
    return [item for item in items if item.id in chosen]


def _units(items: Iterable[Item]) -> list[list[Item]]:
    """What is taken together: the steps of a chain, in order; every other item by itself."""
    cases: defaultdict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        cases[item.split, item.case].append(item)
    units = []
    for steps in cases.values():
        if any(step.parents for step in steps):
            units.append(sorted(steps, key=lambda step: (str(step.stage), len(step.parents), step.id)))
        else:
            units += [[step] for step in steps]
    return units
