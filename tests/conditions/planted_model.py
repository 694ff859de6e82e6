"""White boxes with one planted weakness each: what fools them, and what cannot, is known."""

import numpy as np
import torch
from torch.nn import functional
from toy_conditions import ChannelModel

from medproof.models.protocol import Reply
from medproof.records import LETTERS


class PlantedModel(ChannelModel):
    """Of the options the first leads by `lead`, the second has logit 0, the others -1, -2, ...

    lead(pixels, prefix): log-odds of the first option over the second; pixels (3, H, W), prefix as the model is asked.
    thought(pixels, sample): the rationale it writes; sample: the seed of a sampled reply, None for a greedy one.
    shortcut(pixels): log-odds that it replies `<answer>B</answer>` without thinking.
    """

    def lead(self, pixels, prefix):
        return torch.tensor(5.0)

    def thought(self, pixels, sample=None):
        return "It is plain."

    def shortcut(self, pixels):
        return torch.tensor(-9.0)

    def _lead(self, pixels, prefix):
        return self.lead(pixels, prefix) + 0 * pixels.sum()

    def letter_logprobs(self, pixels, views, prefixes=None):
        rows = []
        for x, view, prefix in zip(pixels, views, prefixes or ["<answer>"] * len(views), strict=True):
            rest = [torch.tensor(-float(k)) for k in range(len(view.item.options) - 1)]
            rows.append(torch.stack([self._lead(x, prefix), *rest]).log_softmax(0))
        return rows

    def loss(self, pixels, views, objective="margin", prefixes=None):
        self.asked.append((objective, prefixes))
        rows = self.letter_logprobs(pixels, views, prefixes)
        right = [view.item.answer_index for view in views]
        if objective == "answer":
            return torch.stack([-row[k] for row, k in zip(rows, right)])
        return torch.stack([torch.cat([row[:k], row[k + 1 :]]).max() - row[k] for row, k in zip(rows, right)])

    def continuation_logprobs(self, pixels, views, texts, prefixes=None):
        assert prefixes is None
        self.asked.append(("texts", list(texts)))
        return torch.stack(
            [
                functional.logsigmoid(self.shortcut(x) + 0 * x.sum()) - 3.0 * (text != "<answer>B</answer>")
                for x, text in zip(pixels, texts, strict=True)
            ]
        )

    def features(self, pixels):
        return [x.mean(dim=2).T for x in pixels]  # a token a row

    def option_logprobs(self, views, prefixes=None):
        pixels = [as_float(view) for view in views]
        return [row.double().numpy() for row in self.letter_logprobs(pixels, views, prefixes)]

    def generate(self, views, decoding, seed=0):
        self.generated += len(views)
        return [Reply(self._reply(view, seed if decoding.temperature else None), 1, 1, False) for view in views]

    def _reply(self, view, sample):
        pixels = as_float(view)
        if self.shortcut(pixels) > 0:
            return "<answer>B</answer>"
        thought = f"<think>{self.thought(pixels, sample)}</think>" if view.mode == "think" else ""
        (row,) = self.letter_logprobs([pixels], [view], [f"{thought}<answer>"])
        return f"{thought}<answer>{LETTERS[int(row.argmax())]}</answer>"


def as_float(view):
    return torch.from_numpy(np.array(view.image)).permute(2, 0, 1).float() / 255


class BehindRationale(PlantedModel):
    """Its answer looks at the image only behind a rationale."""

    def lead(self, pixels, prefix):
        return 40 * (pixels[2].mean() - 0.49) if "think" in prefix else torch.tensor(5.0)


class OnlyByStopping(PlantedModel):
    """Nothing moves its answer; a dark red channel makes it skip the thinking."""

    def shortcut(self, pixels):
        return 80 * (0.53 - pixels[0].mean())


class MaskedGradient(PlantedModel):
    """Its answer steps from grey level to grey level of the blue mean: no gradient anywhere."""

    def lead(self, pixels, prefix):
        return 40 * ((pixels[2].mean() * 255).floor() / 255 - 0.49).detach()

    def features(self, pixels):
        return [tokens.detach() for tokens in super().features(pixels)]


class LooksAt(PlantedModel):
    """Its answer depends on one rectangle of the image alone."""

    def __init__(self, rows, columns):
        super().__init__()
        self.rows, self.columns = rows, columns

    def lead(self, pixels, prefix):
        return 40 * (pixels[2, self.rows, self.columns].mean() - 0.49)
