"""Chains, and a model whose letters hang on every character it is shown; also a program that is killed.

python chain_runs.py FOLDER RUN BATCHES: evaluates under all protocols and kills itself in a batch.
"""

import hashlib
import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from medproof.conditions import resolve
from medproof.datasets import Dataset
from medproof.evaluation.loop import evaluate
from medproof.images.grid import Grid
from medproof.models.protocol import Reply
from medproof.records import Decoding, Item
from medproof.runs.store import RunStore

PROTOCOLS = tuple(f"steps({how})" for how in ("teacher_forced", "self_conditioned", "joint"))
CASES = 7
# Stage and parents of each step; every other case ends with the third.
STEPS = {"a": ("S1", ""), "b": ("S2", "a"), "c": ("S2", "a"), "d": ("S3", "bc"), "e": ("S4", "d")}
COST = 10


class Letters:
    """Chooses by a hash of pixels and messages. `fault(views)` runs first and may raise; `asked`: what it was asked."""

    name = "letters"
    weights_hash = processor_hash = "w" * 64
    grid = Grid()

    def __init__(self, fault=lambda views: None):
        self.asked = []
        self.fault = fault
        self.rooms = set()

    def decoding(self, mode):
        return Decoding(max_new_tokens=8)

    def cost(self, view):
        return COST

    def generate(self, views, decoding, seed=0):
        self.asked += [(view.condition, view.item.id) for view in views]
        self.rooms |= {(view.condition, decoding.max_new_tokens) for view in views}
        self.fault(views)
        return [Reply(reply(view.pixels_sha256, view.messages[0].text), 50, 9, False, {"usd": 0.5}) for view in views]


class Scoring(Letters):
    def option_logprobs(self, views, prefixes=None):
        return [np.log(np.full(len(view.item.options), 1 / len(view.item.options))) for view in views]


def reply(pixels, text):
    """Unreadable now and then; numbered lines where several questions are asked."""
    numbers = re.findall(r"^(\d+)\. [^\n]+\nA\)", text, re.MULTILINE)
    return "\n".join(f"{n}: {_letter(pixels + text + n)}" for n in numbers) or _letter(pixels + text)


def _letter(text):
    drawn = hashlib.sha256(text.encode()).digest()[0] % 7
    return "I see." if drawn == 6 else f"<answer>{'ABC'[drawn % 3]}</answer>"


def make_chains(folder):
    items = []
    for case in range(CASES):
        path = folder / f"{case}.png"
        if not path.exists():
            pixels = np.random.default_rng(case).integers(0, 256, (28 + 28 * (case % 2), 56, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
        for name in list(STEPS)[: 5 - 2 * (case % 2)]:
            items.append(step(f"case{case}", name, path.name))
    return Dataset(name="chains", root=folder, items=tuple(items))


def step(case, name, image, **changes):
    stage, parents = STEPS[name]
    fields = {
        "id": f"{case}/{name}",
        "image": image,
        "case": case,
        "modality": "CT",
        "question_type": "Disease Diagnosis",
        "stage": stage,
        "question": f"What is {name}?",
        "options": ("cyst", "mass", "scar"),
        "answer": "mass",
        "parents": tuple(f"{case}/{parent}" for parent in parents),
    }
    return Item(**{**fields, **changes})


def run_chains(model, dataset, path, conditions=PROTOCOLS, *, batch=4, **settings):
    meta = {"mode": "direct", "seed": 0, "weights_hash": model.weights_hash}
    with RunStore(path).create(meta, dataset.items) as store:
        resolved = [resolve(text) for text in conditions]
        return evaluate(
            model, dataset, resolved, store, mode="direct", seed=0, batch_tokens=batch * COST, threads=1, **settings
        )


def rows(path):
    """What was stored, without what may differ from run to run."""
    drop = {"worker", "seconds"}
    return [response.model_dump(exclude=drop) for response in RunStore(path).responses()]


if __name__ == "__main__":
    left = int(sys.argv[3])

    def count_down(_):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    run_chains(Letters(count_down), make_chains(Path(sys.argv[1])), Path(sys.argv[2]), chunk=8)
