"""Real replies to attacked images, and whether they are right."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from medproof.images.preprocess import to_uint8
from medproof.models.protocol import Model
from medproof.records import View
from medproof.scoring.parse import parse
from medproof.seeds import derive_seed


class Reader:
    """Lets `model` reply to `views` with other images. `generations` counts replies per view."""

    def __init__(self, model: Model, views: Sequence[View], seed: int) -> None:
        self.model, self.views, self.seed = model, list(views), seed
        self.generations = [0] * len(self.views)

    def part(self, which: Sequence[int]) -> "Reader":
        """A reader of some of the views, renumbered from 0, with its own count."""
        return Reader(self.model, [self.views[i] for i in which], self.seed)

    def adopt(self, part: "Reader", which: Sequence[int]) -> None:
        """Count what `part(which)` has read as one's own."""
        for i, count in zip(which, part.generations, strict=True):
            self.generations[i] += count

    def shown(self, pixels: Sequence[Tensor], indices: Sequence[int]) -> list[View]:
        """The views `indices` with the 8-bit images `pixels`, each (3, H, W) in [0, 1]."""
        return [replace(self.views[i], image=to_uint8(image)) for image, i in zip(pixels, indices, strict=True)]

    def replies(self, pixels: Sequence[Tensor], indices: Sequence[int], sample: int | None = None) -> list[str]:
        """Replies as the run decodes them; with `sample`, drawn at temperature 1 with the seeds of that number."""
        if not indices:
            return []
        for i in indices:
            self.generations[i] += 1
        decoding, seed = self.model.decoding(self.views[indices[0]].mode), self.seed
        if sample is not None:
            decoding = decoding.model_copy(update={"temperature": 1.0, "top_p": 1.0})
            seed = derive_seed(self.seed, str(sample), "rationale")
        with torch.no_grad():
            return [reply.text for reply in self.model.generate(self.shown(pixels, indices), decoding, seed)]

    def is_right(self, index: int, reply: str) -> bool:
        """Whether the parser reads the right option in `reply`; a reply that cannot be read is not right."""
        view = self.views[index]
        return parse(reply, view.item.options, view.mode).choice == view.item.answer_index
