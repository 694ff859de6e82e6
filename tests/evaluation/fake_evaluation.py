"""A fake model, fake conditions and a small data set; also a program that evaluates them, to be killed.

python fake_evaluation.py FOLDER RUN DELAY BATCH_TOKENS CHUNK ITEMS
"""

import hashlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from medproof.datasets import Dataset
from medproof.evaluation.images import ImageLoader
from medproof.evaluation.loop import evaluate
from medproof.evaluation.prepare import Conditioner
from medproof.evaluation.progress import Summary
from medproof.images.grid import Grid
from medproof.models.prompts import messages
from medproof.models.protocol import Reply
from medproof.records import Condition, Decoding, Item, Mode, View, pixels_sha256
from medproof.runs.store import RunStore
from medproof.seeds import rng

CONDITIONS = tuple(Condition(name=name) for name in ("clean", "blank", "noise", "attack", "sometimes"))
COST = 10


class FakeModel:
    """Replies with a hash of what it sees, so that any wrong pixel, message or order shows. Batch-invariant.

    `fault(views)` runs first and may raise. `log`: a line per view it was asked to answer.
    """

    name = "fake"
    processor_hash = "p" * 64

    def __init__(
        self,
        *,
        log: Path | None = None,
        delay: float = 0.0,
        weights_hash: str = "w" * 64,
        fault: Callable[[Sequence[View]], object] = lambda views: None,
    ) -> None:
        self.log = log
        self.delay = delay
        self.weights_hash = weights_hash
        self.fault = fault
        self.batches: list[list[str]] = []
        self.shapes: list[list[tuple[int, ...]]] = []

    @property
    def grid(self) -> Grid:
        return Grid()

    def decoding(self, mode: Mode) -> Decoding:
        return Decoding(max_new_tokens=8)

    def cost(self, view: View) -> int:
        return COST

    def generate(self, views: Sequence[View], decoding: Decoding, seed: int = 0) -> list[Reply]:
        self.batches.append([view.item.id for view in views])
        self.shapes.append([() if view.image is None else view.image.shape for view in views])
        if self.log is not None:
            lines = "".join(f"{view.condition} {view.item.id}\n" for view in views)
            descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(descriptor, lines.encode())
            os.close(descriptor)
        time.sleep(self.delay)
        self.fault(views)
        return [Reply(text=digest(view), prompt_tokens=5, completion_tokens=3, truncated=False) for view in views]


class FakeScorer(FakeModel):
    """With option log-probabilities; remembers the prefixes it was given."""

    prefixes: Sequence[str] | None = None

    def option_logprobs(
        self, views: Sequence[View], prefixes: Sequence[str] | None = None
    ) -> list[npt.NDArray[np.float64]]:
        self.prefixes = prefixes
        return [np.log(np.full(len(view.item.options), 1 / len(view.item.options))) for view in views]


def digest(view: View) -> str:
    return hashlib.sha256((pixels_sha256(view.image) + view.messages_json).encode()).hexdigest()


def fake_conditions(dataset: Dataset, seed: int, mode: Mode, grid: Grid) -> Conditioner:
    """clean, blank, noise (seeded per item), attack (needs perturb), sometimes (not for every third item)."""
    load = ImageLoader(dataset, grid)

    def prepare(condition: Condition, items: Sequence[Item], context: Any) -> list[View | None]:
        return [one(condition, item) for item in items]

    def one(condition: Condition, item: Item) -> View | None:
        image = load(item)
        if condition.name == "sometimes" and int(item.id.removeprefix("item")) % 3 == 0:
            return None
        if condition.name == "blank":
            image = np.full_like(image, 127)
        if condition.name == "noise":
            image = rng(seed, item.id, "noise").integers(0, 256, image.shape, dtype=np.uint8)
        return View(item, condition.key, mode, messages(item, mode), image)

    def perturb(condition: Condition, views: Sequence[View], context: Any) -> list[View]:
        return [
            replace(view, image=255 - view.image, info={"eps_255": 8.0}) for view in views if view.image is not None
        ]

    return Conditioner(prepare, lambda condition: condition.name == "attack", perturb, None)


def make_dataset(folder: Path, count: int = 24) -> Dataset:
    """`count` items with two image sizes, written to `folder` where they are not there yet."""
    items = []
    for number in range(count):
        path = folder / f"{number}.png"
        if not path.exists():
            size = (28, 56, 3) if number % 2 else (56, 56, 3)
            pixels = rng(0, str(number), "image").integers(0, 256, size, dtype=np.uint8)
            Image.fromarray(pixels).save(path)
        items.append(
            Item(
                id=f"item{number}",
                image=path.name,
                case=f"case{number}",
                modality="CT",
                question_type="Modality Recognition",
                question="Which modality is this?",
                options=("CT", "MRI", "X-ray"),
                answer="CT",
            )
        )
    return Dataset(name="tiny", root=folder, items=tuple(items))


def make_store(path: Path, model: FakeModel, dataset: Dataset, seed: int = 0, mode: Mode = "direct") -> RunStore:
    meta = {
        "mode": mode,
        "seed": seed,
        "weights_hash": model.weights_hash,
        "dataset_fingerprint": dataset.fingerprint,
        "conditions": [],
    }
    return RunStore(path).create(meta, dataset.items)


def run_fake(
    model: FakeModel,
    dataset: Dataset,
    run: Path,
    conditions: Sequence[Condition] = CONDITIONS,
    *,
    mode: Mode = "direct",
    seed: int = 0,
    **options: Any,
) -> Summary:
    """Create or reopen the run and evaluate. Batches of four and chunks of eight unless `options` say otherwise."""
    store = make_store(run, model, dataset, seed, mode)
    options = {"batch_tokens": 4 * COST, "chunk": 8, "how": fake_conditions(dataset, seed, mode, model.grid), **options}
    return evaluate(model, dataset, conditions, store, mode=mode, seed=seed, **options)


def answers(run: Path) -> list[dict[str, Any]]:
    """The responses of a run without what may differ between two runs of the same experiment."""
    return [response.model_dump(exclude={"worker", "seconds"}) for response in RunStore(run).responses()]


def main(folder: str, run: str, delay: str, batch_tokens: str, chunk: str, count: str) -> None:
    model = FakeModel(log=Path(f"{run}.log"), delay=float(delay))
    dataset = make_dataset(Path(folder), int(count))
    summary = run_fake(model, dataset, Path(run), batch_tokens=int(batch_tokens), chunk=int(chunk))
    print(summary.message, flush=True)
    sys.exit(3 if summary.interrupted else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
