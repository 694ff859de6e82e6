"""Stop reasoning: drive the model to a short form that skips the thinking and answers wrongly.

After Wang et al. 2024 (arXiv:2402.14899), who make chain-of-thought models drop their rationale.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medproof.models.prompts import ANSWER_CLOSE, ANSWER_OPEN
from medproof.models.protocol import WhiteBox
from medproof.records import LETTERS, View

CERTAIN = math.log(0.5)
"""Above this log-probability of a text, each of its tokens is the likeliest: greedy decoding writes it."""
_EMPTY_THOUGHT = "<think></think>"


class StopScore:
    """Log-probability that the reply is a given short form: a wrong answer at once, or after an empty thought.

    Each view's form is the one likeliest on its clean image, over its wrong options. Adversarial above `CERTAIN`:
    greedy decoding then begins with this wrong answer. In modes where the answer opens the reply, that form alone.
    """

    def __init__(self, model: WhiteBox, views: Sequence[View], clean: Sequence[Tensor]) -> None:
        self.model, self.views = model, list(views)
        forms = [short_forms(view) for view in self.views]
        self.opening_forwards = [len(texts) for texts in forms]
        self.texts: list[str] = []
        with torch.no_grad():
            for view, image, texts in zip(self.views, clean, forms, strict=True):
                likely = model.continuation_logprobs([image] * len(texts), [view] * len(texts), texts)
                self.texts.append(texts[int(likely.argmax())])

    def __call__(self, pixels: Sequence[Tensor], indices: Sequence[int], /) -> tuple[Tensor, Tensor]:
        views, texts = [self.views[i] for i in indices], [self.texts[i] for i in indices]
        loss = self.model.continuation_logprobs(pixels, views, texts)
        return loss, loss.detach() > CERTAIN


def short_forms(view: View) -> list[str]:
    """Replies without reasoning that name a wrong option."""
    openings = ("", _EMPTY_THOUGHT) if view.mode == "think" else ("",)
    wrong = [LETTERS[k] for k in range(len(view.item.options)) if k != view.item.answer_index]
    return [f"{opening}{ANSWER_OPEN}{letter}{ANSWER_CLOSE}" for opening in openings for letter in wrong]
