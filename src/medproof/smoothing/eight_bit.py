"""Models that are shown files, not floats: those behind an API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from medproof.images.preprocess import to_uint8
from medproof.models.protocol import Model, Reply
from medproof.records import Decoding, View


class EightBit:
    """`copy_replies` over `generate`. Copies are clipped to [0, 1] and rounded to 8 bits after the noise.

    That is a fixed function of the noisy image and so part of the base classifier: certificates hold as they are, but
    they are for this base classifier, which sees less than one that takes floats.
    """

    device = torch.device("cpu")

    def __init__(self, model: Model) -> None:
        self._model = model
        self.name, self.grid = model.name, model.grid
        self.weights_hash, self.processor_hash = model.weights_hash, model.processor_hash
        self.decoding = model.decoding

    def copy_replies(self, copies: torch.Tensor, view: View, decoding: Decoding, seeds: Sequence[int]) -> list[Reply]:
        """One reply per copy. A model derives its random numbers from the condition too: it names the draw's seed."""
        views = [
            replace(view, image=to_uint8(copy), condition=f"smoothed {seed}")
            for copy, seed in zip(copies, seeds, strict=True)
        ]
        return self._model.generate(views, decoding)
