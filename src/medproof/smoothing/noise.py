"""The noise of randomized smoothing: Gaussian, in float, on the image at grid resolution, never clamped.

Draw d of a stream is a function of (key, d) alone: Philox, a counter-based generator (Salmon et al. 2011, "Parallel
random numbers: as easy as 1, 2, 3"), with d in the highest word of its counter, so that no two draws overlap. Any shard
of the draws can be made again, in any order, batch or process.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from medproof.seeds import derive_seed

Floats = npt.NDArray[np.float32]
WHITE = 255


def noise_key(run_seed: int, image_sha256: str, sigma: float) -> int:
    """The key of an image's noise stream. It names the image, not the question: questions on one image share copies."""
    return derive_seed(run_seed, image_sha256, f"smoothing:{sigma!r}")


def standard_normal(key: int, first: int, count: int, shape: tuple[int, ...]) -> Floats:
    """(count, *shape) float32: draws first to first + count - 1 of the stream `key`, of standard deviation 1."""
    out = np.empty((count, *shape), dtype=np.float32)
    for place in range(count):
        bits = np.random.Philox(key=key, counter=[0, 0, 0, first + place])
        np.random.Generator(bits).standard_normal(dtype=np.float32, out=out[place])
    return out


def noisy_copies(image: torch.Tensor, sigma: float, normal: torch.Tensor, *, rounded: bool = False) -> torch.Tensor:
    """Image (3, H, W) in [0, 1] and standard normal (N, 3, H, W) -> the N copies a smoothed model sees, unclamped.

    rounded: bring every value to the nearest n/255, for any whole n, negative ones and those above 255 too. This is
    part of the base classifier, after the noise, so certificates stay as they are; it keeps from the classifier the
    low bits of the float sum, which tell where the image was (floating-point attacks: Jin et al. 2022,
    arXiv 2205.10159).
    """
    copies = image + sigma * normal
    return (copies * WHITE).round() / WHITE if rounded else copies
