"""Shared by the tests of the command line: what a command left behind, a stand-in model, questions of grey level."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medproof.images.grid import Grid
from medproof.models.protocol import Reply
from medproof.records import LETTERS, Decoding, Item, Mode, View


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The line on stderr that names the problem; there must be exactly one."""
        lines = [line for line in self.err.splitlines() if line.startswith("medproof: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


Cli = Callable[..., Ran]


class FakeModel:
    """Knows the brightness of the image: answers option number (mean level // 64). Interrupts itself when told to."""

    name = "fake"
    weights_hash = "w" * 64
    processor_hash = "p" * 64

    def __init__(self) -> None:
        self.answered: list[str] = []
        self.interrupt_after: int | None = None

    @property
    def grid(self) -> Grid:
        return Grid(min_pixels=28 * 28, max_pixels=56 * 56)

    def decoding(self, mode: Mode) -> Decoding:
        return Decoding(max_new_tokens=8)

    def cost(self, view: View) -> int:
        return 10

    def generate(self, views: Sequence[View], decoding: Decoding, seed: int = 0) -> list[Reply]:
        replies = []
        for view in views:
            if self.interrupt_after is not None and len(self.answered) >= self.interrupt_after:
                raise KeyboardInterrupt
            self.answered.append(f"{view.condition} {view.item.id}")
            replies.append(Reply(f"<answer>{LETTERS[self._choice(view)]}</answer>", 5, 3, False))
        return replies

    def option_logprobs(
        self, views: Sequence[View], prefixes: Sequence[str] | None = None
    ) -> list[npt.NDArray[np.float64]]:
        scores = []
        for view in views:
            row = np.full(len(view.item.options), -4.0)
            row[self._choice(view)] = -0.1
            scores.append(row - np.log(np.exp(row).sum()))
        return scores

    def _choice(self, view: View) -> int:
        level = 128 if view.image is None else float(view.image.mean())
        return min(int(level // 64), len(view.item.options) - 1)


LEVELS = (30, 90, 150, 220)
OPTIONS = ("black", "dark", "light", "white")


def shade(number: int, **changes: object) -> Item:
    """A question whose answer is the grey level of its image."""
    values: dict[str, object] = {
        "id": f"q{number:02d}",
        "image": f"images/{number:02d}.png",
        "case": f"c{number:02d}",
        "modality": ("CT", "MRI")[number % 2],
        "question_type": "Other Biological Attributes",
        "question": "How bright is it?",
        "options": OPTIONS,
        "answer": OPTIONS[number % 4],
        "split": "train" if number >= 12 else "test",
        "patient": f"p{number}",
    }
    return Item.model_validate(values | changes)
