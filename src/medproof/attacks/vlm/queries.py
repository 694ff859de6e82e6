"""Scores without gradients: what is known of a model that is asked from outside."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medproof.attacks.vlm.reader import Reader
from medproof.models.protocol import Scorer


class OptionQueries:
    """Option margin of a level-2 model: best wrong log-probability minus that of the right option.

    prefixes: the reply before the answer slot, one per view; None: the slot opens the reply.
    """

    def __init__(self, model: Scorer, reader: Reader, prefixes: Sequence[str] | None = None) -> None:
        self.model, self.reader, self.prefixes = model, reader, prefixes

    def __call__(self, pixels: Sequence[Tensor], indices: Sequence[int], /) -> tuple[Tensor, Tensor]:
        prefixes = None if self.prefixes is None else [self.prefixes[i] for i in indices]
        rows = self.model.option_logprobs(self.reader.shown(pixels, indices), prefixes)
        right = [self.reader.views[i].item.answer_index for i in indices]
        margins = [float(np.delete(row, k).max() - row[k]) for row, k in zip(rows, right, strict=True)]
        loss = torch.tensor(margins)
        return loss, loss > 0


class LetterQueries:
    """1 where the decoded reply is not right, else 0: all that a model of level 1 tells."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def __call__(self, pixels: Sequence[Tensor], indices: Sequence[int], /) -> tuple[Tensor, Tensor]:
        replies = self.reader.replies(pixels, indices)
        wrong = torch.tensor([not self.reader.is_right(i, text) for i, text in zip(indices, replies, strict=True)])
        return wrong.float(), wrong
