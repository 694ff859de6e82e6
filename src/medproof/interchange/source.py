"""What is exported: the items of a run folder or of a benchmark folder, and their pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from medproof.datasets import Dataset, load
from medproof.datasets.paths import inside
from medproof.errors import UserError
from medproof.records import Item
from medproof.runs.store import RunData, read_run
from medproof.scoring.scored import CLEAN

ITEMS = "items.jsonl"
NO_IMAGE = "0" * 64


@dataclass(frozen=True)
class Source:
    """`run` or `data`: the other is None. `file`: where the items are stored, as Parquet or JSON lines."""

    name: str
    items: tuple[Item, ...]
    file: Path
    run: RunData | None = None
    data: Dataset | None = None

    def picture(self, item: Item) -> Path | None:
        """The item's image file, of a run the clean picture that the model saw. None where there is none on disk."""
        if self.data is not None:
            path = inside(self.data.root, item.image)
        elif (sha := self._clean.get(item.id, NO_IMAGE)) != NO_IMAGE:
            path = self.file.parent / "images" / f"{sha}.png"
        else:
            return None
        return path if path.is_file() else None

    def mask(self, item: Item) -> Path | None:
        """The item's mask file; None where it has none, and always for a run, which stores no masks."""
        if self.data is None or item.evidence is None or item.evidence.mask is None:
            return None
        path = inside(self.data.root, item.evidence.mask)
        return path if path.is_file() else None

    @cached_property
    def _clean(self) -> dict[str, str]:
        responses = () if self.run is None else self.run.responses
        return {response.item_id: response.image_sha256 for response in responses if response.condition == CLEAN}


def read_source(path: Path) -> Source:
    """A folder of `medproof run`, or of `medproof bench build` (or its items.jsonl). Raises UserError for another."""
    if (path / "run.json").is_file():
        run = read_run(path)
        return Source(str(run.meta.get("name") or path.resolve().name), run.items, path / "items.parquet", run=run)
    file = bench_file(path)
    if file.suffix != ".jsonl" or not file.is_file():
        raise UserError(f"{path} is neither a run nor a benchmark: give a folder with run.json or with {ITEMS}")
    data = load(file)
    return Source(file.resolve().parent.name, data.items, file, data=data)


def bench_file(path: Path | str) -> Path:
    """items.jsonl of a benchmark folder; any other path as it is."""
    file = Path(path) / ITEMS
    return file if file.is_file() else Path(path)


def held_back(items: Iterable[Item]) -> str | None:
    """One line about the items whose licence class is not permissive, with counts; None where all are."""
    classes = Counter(item.license_class for item in items if item.license_class != "permissive")
    if not classes:
        return None
    counts = ", ".join(f"{count} {name}" for name, count in sorted(classes.items()))
    return f"{sum(classes.values())} items are not under a permissive licence ({counts})"


def may_copy(item: Item, everything: bool) -> bool:
    """Whether the item's picture may be copied; `everything`: the user says that it may."""
    return everything or item.license_class == "permissive"
