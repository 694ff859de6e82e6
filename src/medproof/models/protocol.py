"""What the rest of the house knows of a model, in three levels.

1. `Model.generate`: every model, API ones too.
2. `Scorer.option_logprobs`: scoring without decoding.
3. `WhiteBox`: differentiable in the pixels, for attacks and adversarial training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from medproof.records import Decoding, Mode, View

if TYPE_CHECKING:
    import torch

    from medproof.images.grid import Grid

Objective = Literal["margin", "answer"]
"""`margin`: max over wrong options of log p - log p of the true option, at the answer slot. `answer`: -log p of the
right answer's text, teacher-forced: `<answer>X</answer>`, or what of it follows the prefix. In nats; larger is more
adversarial."""


@dataclass(frozen=True)
class Reply:
    """Decoded text of one view. `info`: numbers that go into the response's, such as what an API reply cost."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    truncated: bool
    info: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Model(Protocol):
    """Level 1."""

    name: str
    weights_hash: str
    processor_hash: str

    @property
    def grid(self) -> Grid | None:
        """The pixel grid images are rendered to; None when the model takes any size (API)."""

    def decoding(self, mode: Mode) -> Decoding:
        """Default decoding for a mode."""

    def cost(self, view: View) -> int:
        """Tokens the view takes, image and text, for batching."""

    def generate(self, views: Sequence[View], decoding: Decoding, seed: int = 0) -> list[Reply]:
        """One reply per view, in order. Raises torch.OutOfMemoryError where the batch is too large."""


@runtime_checkable
class Scorer(Model, Protocol):
    """Level 2."""

    def option_logprobs(
        self, views: Sequence[View], prefixes: Sequence[str] | None = None
    ) -> list[npt.NDArray[np.float64]]:
        """Per view (K,): log-probabilities of the option letters at the answer slot, normalised over the K options.

        `prefixes`: assistant text before the slot (a rationale); by default the slot opens the reply.
        """


@runtime_checkable
class WhiteBox(Scorer, Protocol):
    """Level 3. Weights stay frozen.

    `pixels`: per view (3, H, W) in [0, 1] on the grid; results are float32 and differentiable in them. Views that share
    an image (several rationales) are given the same tensor object: it is encoded once.
    `prefixes`: as in `option_logprobs`.
    """

    @property
    def device(self) -> torch.device:
        """Where pixels must live."""

    def loss(
        self,
        pixels: Sequence[torch.Tensor],
        views: Sequence[View],
        objective: Objective = "margin",
        prefixes: Sequence[str] | None = None,
    ) -> torch.Tensor:
        """(N,) the objective of each view."""

    def letter_logprobs(
        self, pixels: Sequence[torch.Tensor], views: Sequence[View], prefixes: Sequence[str] | None = None
    ) -> list[torch.Tensor]:
        """Per view (K,): log p of the option letters at the answer slot, over the whole vocabulary."""

    def continuation_logprobs(
        self,
        pixels: Sequence[torch.Tensor],
        views: Sequence[View],
        texts: Sequence[str],
        prefixes: Sequence[str] | None = None,
    ) -> torch.Tensor:
        """(N,) log p of each text, teacher-forced behind its prefix, summed over tokens; None: it opens the reply."""

    def features(self, pixels: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Per image (tokens, D): the visual tokens that the text model is given. The text model is not run."""

    def slot_features(
        self, pixels: Sequence[torch.Tensor], views: Sequence[View], prefixes: Sequence[str] | None = None
    ) -> torch.Tensor:
        """(N, D) last hidden state where the answer letter is predicted."""


@runtime_checkable
class CopyVoter(Scorer, Protocol):
    """What randomized smoothing asks: the answers to many noisy float copies of one image, without gradients.

    Copies: (n, 3, H, W) float32 on the grid, in units of [0, 1] pixels but not clamped to them, on `device`.
    """

    @property
    def device(self) -> torch.device:
        """Where copies must live."""

    def copy_letters(
        self, copies: Sequence[torch.Tensor], views: Sequence[Sequence[View]], rows: int
    ) -> list[list[torch.Tensor]]:
        """Per image and question (n, K) float32: logits of the option letters where they open the reply.

        copies: those of each image; views: the questions on each image. Images are encoded in one pass and shared by
        their questions; text rows go in passes of at most `rows`, or one question's copies. With one image and
        rows <= n every pass has a shape of its own question only, so its numbers depend on nothing else in the call.
        """

    def copy_replies(self, copies: torch.Tensor, view: View, decoding: Decoding, seeds: Sequence[int]) -> list[Reply]:
        """One decoded reply per copy; `seeds`: one per copy, used where `decoding` samples."""
