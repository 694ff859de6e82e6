"""Images that show nothing, so that a model can learn to say so instead of guessing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def without_evidence(shape: Sequence[int], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 of that shape: a level, a slope across the image and noise, all drawn, on one channel or three.

    So many kinds, of which the grey of the condition `blank` is only one, that no single level tells them from images:
    half are without slope, half without noise, whose standard deviation is otherwise log-uniform from 1 to 90 levels.
    """
    height, width, _ = shape
    channels = 3 if rng.random() < 0.3 else 1
    level = rng.uniform(0, 255, channels)
    angle = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0, 120) if rng.random() < 0.5 else 0.0
    noise = float(np.exp(rng.uniform(0, np.log(90)))) if rng.random() < 0.5 else 0.0
    y, x = np.linspace(-1, 1, height)[:, None, None], np.linspace(-1, 1, width)[None, :, None]
    image = level + slope * (np.cos(angle) * x + np.sin(angle) * y)
    image = image + noise * rng.standard_normal((height, width, channels))
    return np.broadcast_to(np.clip(np.rint(image), 0, 255).astype(np.uint8), (height, width, 3)).copy()
