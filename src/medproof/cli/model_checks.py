"""Checks of a model: the same answer alone and in a batch of mixed sizes, and the same answer twice."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medproof.cli.machine import Check

if TYPE_CHECKING:
    import numpy.typing as npt

    from medproof.models.protocol import Scorer
    from medproof.records import View

N_VIEWS = 6
TOLERANCE = 1e-3
"""Largest difference of a log-probability, in nats, that is put down to rounding."""


def model_checks(model: Scorer) -> list[Check]:
    """Batch invariance of scores and of text, determinism, and the time one view takes."""
    views = mixed_views(model)
    began = time.perf_counter()
    alone = [model.option_logprobs([view])[0] for view in views]
    seconds = (time.perf_counter() - began) / len(views)
    together, again = model.option_logprobs(views), model.option_logprobs(views)
    decoding = model.decoding("direct")
    texts_alone = [model.generate([view], decoding)[0].text for view in views]
    texts = [reply.text for reply in model.generate(views, decoding)]
    return [
        Check("model", "ok", f"{model.name}, weights {model.weights_hash[:12]}"),
        score_check("batch invariance, scores", alone, together),
        text_check("batch invariance, text", texts_alone, texts),
        determinism_check(together, again),
        Check("time", "ok", f"{1000 * seconds:.0f} ms per view, alone"),
    ]


def mixed_views(model: Scorer) -> list[View]:
    """Built-in images of several modalities, every second one cut to half its height: a batch of mixed sizes."""
    from medproof.datasets import load
    from medproof.images.decode import decode
    from medproof.models.prompts import messages
    from medproof.records import View

    data = load("sample", split="test", limit=N_VIEWS)
    views = []
    for index, item in enumerate(data.items):
        pixels = decode(data.image_path(item)).pixels
        if index % 2:
            pixels = np.ascontiguousarray(pixels[: pixels.shape[0] // 2])
        image = pixels if model.grid is None else model.grid.render(pixels)
        views.append(View(item, "clean", "direct", messages(item, "direct"), image))
    return views


def score_check(
    name: str, alone: Sequence[npt.NDArray[np.float64]], together: Sequence[npt.NDArray[np.float64]]
) -> Check:
    """Compare option log-probabilities of the same views, alone and in one batch."""
    difference = max(float(np.abs(a - b).max()) for a, b in zip(alone, together, strict=True))
    changed = sum(int(a.argmax() != b.argmax()) for a, b in zip(alone, together, strict=True))
    found = f"largest difference {difference:.2g} nats, {changed} of {len(alone)} answers change"
    if changed or difference > TOLERANCE:
        return Check(
            name, "warn", found, "compare runs of one batch size only, or use --dtype float32 or --batch-tokens 1"
        )
    return Check(name, "ok", found)


def text_check(name: str, alone: Sequence[str], together: Sequence[str]) -> Check:
    """Compare greedy replies of the same views, alone and in one batch."""
    changed = sum(a != b for a, b in zip(alone, together, strict=True))
    found = f"{changed} of {len(alone)} replies change"
    if changed:
        return Check(
            name, "warn", found, "compare runs of one batch size only, or use --dtype float32 or --batch-tokens 1"
        )
    return Check(name, "ok", found)


def determinism_check(once: Sequence[npt.NDArray[np.float64]], again: Sequence[npt.NDArray[np.float64]]) -> Check:
    """Compare two identical calls, bit for bit."""
    differing = sum(not np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    found = f"{differing} of {len(once)} scores differ between two identical calls"
    if differing:
        return Check(
            "determinism", "warn", found, "fix the number of threads (OMP_NUM_THREADS) and use --dtype float32"
        )
    return Check("determinism", "ok", found)
