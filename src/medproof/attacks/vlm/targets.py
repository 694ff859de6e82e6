"""One wrong option at a time, for the targeted sweep."""

from collections.abc import Sequence

import torch
from torch import Tensor

from medproof.attacks.objective import Score
from medproof.models.protocol import WhiteBox
from medproof.records import View


class TargetedSweep:
    """Scores log p(wrong option of a rank) - log p(right option) at the answer slot, for `attacks.targeted.targeted`.

    Wrong options are ranked by their probability on the clean image. Adversarial is whatever makes any wrong option
    beat the right one. prefixes: the reply before the slot, one per view; None: the slot opens the reply.
    """

    def __init__(
        self, model: WhiteBox, views: Sequence[View], clean: Sequence[Tensor], prefixes: Sequence[str] | None = None
    ) -> None:
        self.model, self.views, self.prefixes = model, list(views), prefixes
        self.opening_forwards = [1] * len(self.views)
        self.ranked: list[list[int]] = []
        with torch.no_grad():
            rows = model.letter_logprobs(clean, self.views, prefixes) if self.views else []
        for view, row in zip(self.views, rows, strict=True):
            order = row.sort(descending=True, stable=True).indices.tolist()
            self.ranked.append([k for k in order if k != view.item.answer_index])

    @property
    def wrong(self) -> list[int]:
        """Number of wrong options of each view."""
        return [len(options) for options in self.ranked]

    def score_for(self, rank: int) -> Score:
        """The score that steers each view to its wrong option number `rank`; asked only of views that have it."""

        def score(pixels: Sequence[Tensor], indices: Sequence[int], /) -> tuple[Tensor, Tensor]:
            views = [self.views[i] for i in indices]
            prefixes = None if self.prefixes is None else [self.prefixes[i] for i in indices]
            rows = self.model.letter_logprobs(pixels, views, prefixes)
            right = [view.item.answer_index for view in views]
            loss = torch.stack([row[self.ranked[i][rank]] - row[k] for row, i, k in zip(rows, indices, right)])
            beaten = [bool((row.detach() > row.detach()[k]).any()) for row, k in zip(rows, right)]
            return loss, torch.tensor(beaten, device=loss.device)

        return score
