"""The answer behind rationales that the model writes itself.

An answer behind a rationale depends on the image directly and through the text. The gradient knows the direct way only,
so the text is kept up to date: written anew from the image the attack has reached, greedily or in several samples.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from medproof.attacks.vlm.reader import Reader
from medproof.models.prompts import answer_prefix
from medproof.models.protocol import WhiteBox


class RationaleScore:
    """Option margin at the answer slot behind the model's own rationale, or its mean behind sampled ones.

    The rationale of an example is written at its first call, from the clean image, and with `every` again at each call
    of that number. draws: 0 for the reply as the run decodes it, else rationales sampled at temperature 1 (with the
    same random numbers each time, so that the loss moves with the image alone).

    Adversarial is a margin above 0. With `every` and no draws it is the truth instead: the reply to this very image is
    not right. It is asked for whenever the margin is above 0, and what the model writes then is the next rationale.
    A score serves one attack.
    """

    def __init__(self, model: WhiteBox, reader: Reader, *, draws: int = 0, every: int | None = None) -> None:
        self.model, self.reader, self.draws, self.every = model, reader, draws, every
        self.prefixes: list[list[str]] = [[] for _ in reader.views]
        self.calls = [0] * len(reader.views)

    @property
    def forwards_per_call(self) -> int:
        """Forward passes of the model that one call takes, and backward passes its gradient."""
        return max(1, self.draws)

    backwards_per_call = forwards_per_call

    def __call__(self, pixels: Sequence[Tensor], indices: Sequence[int], /) -> tuple[Tensor, Tensor]:
        due = [row for row, i in enumerate(indices) if self._is_due(i)]
        wrong = self._write(pixels, indices, due)
        loss = self._margins(pixels, indices)
        adversarial = loss.detach() > 0
        if self.every is not None and not self.draws:
            written = set(due)
            wrong |= self._write(pixels, indices, [r for r in adversarial.nonzero()[:, 0].tolist() if r not in written])
            adversarial = torch.tensor([row in wrong for row in range(len(indices))], device=loss.device)
        for i in indices:
            self.calls[i] += 1
        return loss, adversarial

    def _is_due(self, index: int) -> bool:
        return self.calls[index] == 0 or (self.every is not None and self.calls[index] % self.every == 0)

    def _write(self, pixels: Sequence[Tensor], indices: Sequence[int], rows: Sequence[int]) -> set[int]:
        """New rationales from the images of `rows`; returns the rows whose greedy reply is not right."""
        images, examples = [pixels[row] for row in rows], [indices[row] for row in rows]
        samples: list[int | None] = list(range(self.draws)) if self.draws else [None]
        replies = [self.reader.replies(images, examples, sample) for sample in samples]
        for place, i in enumerate(examples):
            self.prefixes[i] = [answer_prefix(texts[place]) for texts in replies]
        if self.draws:
            return set()
        return {row for row, i, text in zip(rows, examples, replies[0]) if not self.reader.is_right(i, text)}

    def _margins(self, pixels: Sequence[Tensor], indices: Sequence[int]) -> Tensor:
        """(n,) mean over the rationales of each example; equal ones are asked once."""
        counted = [{text: self.prefixes[i].count(text) for text in self.prefixes[i]} for i in indices]
        rows = [(row, text) for row, texts in enumerate(counted) for text in texts]
        views = [self.reader.views[indices[row]] for row, _ in rows]
        margins = self.model.loss([pixels[row] for row, _ in rows], views, "margin", [text for _, text in rows])
        parts = torch.split(margins, [len(texts) for texts in counted])
        weights = [torch.tensor(list(texts.values())).to(margins) for texts in counted]
        return torch.stack([(part * weight).sum() / weight.sum() for part, weight in zip(parts, weights)])
