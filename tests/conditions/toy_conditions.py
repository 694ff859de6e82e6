"""A small data set in memory and a white box that is four lines of arithmetic on the pixels."""

from pathlib import Path

import numpy as np
import torch

from medproof.conditions import Context, perturb, prepare, resolve
from medproof.datasets import Dataset
from medproof.models.protocol import Reply
from medproof.records import LETTERS, Decoding, Item


def make_item(name, image=None, **changes):
    fields = {
        "id": name,
        "image": image or f"images/{name}.png",
        "case": name,
        "modality": "CT",
        "question_type": "Disease Diagnosis",
        "question": "Which disease is shown?",
        "options": ("lung cancer", "no finding", "pneumonia"),
        "answer": "lung cancer",
    }
    return Item(**{**fields, **changes})


def make_context(items, images=None, seed=7, mode="direct", model=None):
    """`images`: arrays by image path; by default one of its own for each path, of differing shapes, read-only."""
    pixels = images or {}
    for place, item in enumerate(items):
        if item.image not in pixels:
            shape = (28 * (1 + place % 3), 28, 3)
            pixels[item.image] = np.random.default_rng(place).integers(60, 196, shape, dtype=np.uint8)
    for array in pixels.values():
        array.setflags(write=False)  # a condition that writes to what it was lent raises
    dataset = Dataset("toy", Path("/nowhere"), tuple(items))
    return Context(dataset, seed, mode, model, lambda item: pixels[item.image])


class ChannelModel:
    """Answers the first option while the image is bright enough, else the second, by the mean of one channel.

    Its rationale says "bright" while the red mean is at least half, else "dark". At once, or behind "bright", the
    first option leads by 40 (blue - 0.49) + 4 (red - 0.5); behind "dark" by 40 (green - 0.49).
    """

    name = "channels"
    weights_hash = processor_hash = "0"
    grid = None
    device = torch.device("cpu")

    def __init__(self):
        self.asked = []  # objective and prefixes of every loss
        self.generated = 0

    def decoding(self, mode):
        return Decoding(max_new_tokens=32)

    def cost(self, view):
        return 1

    def _lead(self, pixels, prefix):
        red, green, blue = pixels.mean(dim=(1, 2)).unbind()
        return 40 * (green - 0.49) if "dark" in prefix else 40 * (blue - 0.49) + 4 * (red - 0.5)

    def loss(self, pixels, views, objective="margin", prefixes=None):
        self.asked.append((objective, prefixes))
        assert len(pixels) == len(views)
        leads = [self._lead(x, p) for x, p in zip(pixels, prefixes or [""] * len(views))]
        lead = torch.stack(leads)
        return -lead if objective == "margin" else torch.nn.functional.softplus(-lead)

    def option_logprobs(self, views, prefixes=None):
        raise AssertionError("attacks ask for losses only")

    def generate(self, views, decoding, seed=0):
        self.generated += len(views)
        replies = []
        for view in views:
            pixels = torch.from_numpy(view.image.copy()).permute(2, 0, 1) / 255
            thought = ""
            if view.mode == "think":
                thought = f"<think>It is {'bright' if pixels[0].mean() >= 0.5 else 'dark'}.</think>"
            letter = LETTERS[0 if self._lead(pixels, thought) > 0 else 1]
            replies.append(Reply(f"{thought}<answer>{letter}</answer>", 1, 1, False))
        return replies


def flat(red, green, blue, height=28, width=28):
    """An image of one colour in grey levels."""
    return np.full((height, width, 3), (red, green, blue), dtype=np.uint8)


def attacked(text, model, mode="direct", image=None):
    """The context and the view of one item, a flat image, under the condition `text`."""
    item = make_item("i")
    pixels = flat(140, 130, 126) if image is None else image
    context = make_context([item], {item.image: pixels}, mode=mode, model=model)
    condition = resolve(text)
    (view,) = perturb(condition, prepare(condition, [item], context), context)
    return context, view
