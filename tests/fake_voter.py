"""A voter whose smoothed answers are known in closed form; also a program that certifies with it, to be killed.

python fake_voter.py FOLDER RUN DELAY ITEMS
"""

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from medproof.datasets import Dataset
from medproof.evaluation.certify import CertifySummary, certificates_from_counts, certify_items
from medproof.evaluation.images import ImageLoader
from medproof.images.grid import Grid
from medproof.models.prompts import messages
from medproof.models.protocol import Reply
from medproof.records import LETTERS, Certificate, Decoding, Item, Mode, View
from medproof.runs.store import RunStore
from medproof.seeds import rng
from medproof.smoothing.plans import Plan, Sequential
from medproof.smoothing.scheme import Scheme
from medproof.smoothing.votes import VoteEngine

SIGMA = 0.5
SIDE = 28
PLAN = Sequential(target=0.25, last=512)


class HalfSpace:
    """Answers A where the sum of all pixel values over their root number is above `at`, B elsewhere.

    So the smoothed model is the half-space itself, and its true radius the distance to it. `sizes`: copies per pass.
    `shown`: the copies of the last pass. Greedy replies say the letter; those to images left of `unreadable` say
    nothing.
    """

    name = "half-space"
    weights_hash = "w" * 64
    processor_hash = "p" * 64
    device = torch.device("cpu")

    def __init__(self, at: float = 25.0, delay: float = 0.0, unreadable: float = -math.inf) -> None:
        self.at, self.delay, self.unreadable = at, delay, unreadable
        self.sizes: list[int] = []
        self.shown: list[torch.Tensor] = []
        self.seeds: list[int] = []

    @property
    def grid(self) -> Grid:
        return Grid(min_pixels=SIDE * SIDE, max_pixels=4 * SIDE * SIDE)

    def decoding(self, mode: Mode) -> Decoding:
        return Decoding(max_new_tokens=8)

    def cost(self, view: View) -> int:
        return 10

    def distance(self, pixels: torch.Tensor) -> torch.Tensor:
        """(..., 3, H, W) -> (...) signed distance to the half-space."""
        return pixels.double().sum((-3, -2, -1)) / math.sqrt(math.prod(pixels.shape[-3:])) - self.at

    def copy_letters(
        self, copies: Sequence[torch.Tensor], views: Sequence[Sequence[View]], rows: int
    ) -> list[list[torch.Tensor]]:
        time.sleep(self.delay)
        self.sizes.append(sum(len(one) for one in copies))
        self.shown = list(copies)
        return [[self._letters(one, view) for view in asked] for one, asked in zip(copies, views, strict=True)]

    def copy_replies(self, copies: torch.Tensor, view: View, decoding: Decoding, seeds: Sequence[int]) -> list[Reply]:
        self.seeds.extend(seeds)
        said = [
            "" if float(d) < self.unreadable else f"<answer>{LETTERS[int(d <= 0)]}</answer>"
            for d in self.distance(copies)
        ]
        return [Reply(text, 5, 3, False) for text in said]

    def option_logprobs(
        self, views: Sequence[View], prefixes: Sequence[str] | None = None
    ) -> list[npt.NDArray[np.float64]]:
        return [np.log(np.full(len(view.item.options), 1 / len(view.item.options))) for view in views]

    def generate(self, views: Sequence[View], decoding: Decoding, seed: int = 0) -> list[Reply]:
        return [Reply("<answer>A</answer>", 5, 3, False) for _ in views]

    def _letters(self, copies: torch.Tensor, view: View) -> torch.Tensor:
        logits = torch.full((len(copies), len(view.item.options)), -9.0)
        logits[:, 0], logits[:, 1] = self.distance(copies).float(), 0.0
        return logits


def make_item(number: int, image: str | None = None, options: tuple[str, ...] = ("high", "low")) -> Item:
    return Item(
        id=f"item{number:02d}",
        image=image or f"{number}.png",
        case=f"case{number}",
        modality=("CT", "MRI")[number % 2],
        question_type="Other Biological Attributes",
        question=f"Question {number}: how bright?",
        options=options,
        answer=options[0],
    )


def make_dataset(folder: Path, count: int = 8) -> Dataset:
    """Flat images at distances from -0.85 to 0.5 of the half-space, two questions on each."""
    items = []
    for number in range(count):
        path = folder / f"{number // 2}.png"
        if not path.exists():
            level = 127 + 14 * (number // 2) / (count - 2)
            noise = rng(0, str(number // 2), "image").normal(0, 4, (SIDE, SIDE, 3))
            Image.fromarray((level + noise).round().clip(0, 255).astype(np.uint8)).save(path)
        items.append(make_item(number, path.name))
    return Dataset(name="tiny", root=folder, items=tuple(items))


def make_view(pixels: npt.NDArray[np.uint8], item: Item | None = None, mode: Mode = "direct") -> View:
    item = item or make_item(0)
    return View(item, "clean", mode, messages(item, mode), pixels)


def grey(level: int, side: int = SIDE) -> npt.NDArray[np.uint8]:
    return np.full((side, side, 3), level, np.uint8)


def open_run(path: Path, model: HalfSpace, dataset: Dataset) -> RunStore:
    meta = {"mode": "direct", "seed": 0, "weights_hash": model.weights_hash, "processor_hash": model.processor_hash}
    return RunStore(path).create({**meta, "dataset_fingerprint": dataset.fingerprint}, dataset.items)


def certify_fake(
    path: Path, dataset: Dataset, model: HalfSpace | None = None, plan: Plan = PLAN, batch: int = 32
) -> tuple[list[Certificate], CertifySummary]:
    """Certify with the half-space; the certificates come from the log."""
    model = model or HalfSpace()
    scheme = Scheme(SIGMA, 0.001, plan=plan)
    engine = VoteEngine(model, SIGMA, batch=batch)
    with open_run(path, model, dataset) as store:
        load = ImageLoader(dataset, model.grid)
        summary = certify_items(engine, scheme, dataset, store, mode="direct", seed=0, load=load)
    found, _ = certificates_from_counts(store, scheme, base="option_argmax", rounded=False)
    return list(found.certificates), summary


if __name__ == "__main__":
    folder, run, delay, count = sys.argv[1:]
    _, done = certify_fake(Path(run), make_dataset(Path(folder), int(count)), HalfSpace(delay=float(delay)))
    print(done.draws)
