"""One CNN and one set of stored counts: ART's smoothing class gives the radii of ours, to 1e-6.

The counts are ART's own votes of a small trained network under its own noise. Skips where ART, its statsmodels
or scikit-learn is absent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

for package in ("art", "statsmodels", "sklearn"):
    pytest.importorskip(package, reason=f"{package} is absent: pip install 'medproof[peers]' statsmodels")

from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402

from medproof.smoothing.bounds import OneClass  # noqa: E402
from medproof.smoothing.certificate import certify  # noqa: E402
from medproof.smoothing.plans import Fixed  # noqa: E402
from medproof.smoothing.scheme import Scheme, Tally  # noqa: E402

SIGMA, N0, N, IMAGES, CLASSES = 0.5, 100, 1000, 40, 10


class Stored(PyTorchRandomizedSmoothing):
    """Counts once drawn, given out again in the order in which `certify` asks for them."""

    drawn: list[np.ndarray]

    def _prediction_counts(self, x: Any, n: int | None = None, batch_size: int = 128) -> np.ndarray:
        return self.drawn.pop(0)


@pytest.fixture(scope="module")
def case() -> tuple[nn.Module, np.ndarray]:
    """A CNN trained on noisy digits, and images it was not trained on: float32 (IMAGES, 1, 8, 8) in [0, 1]."""
    data = load_digits()
    images, labels = (data.images / 16).astype(np.float32)[:, None], torch.from_numpy(data.target)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, CLASSES)
        )
        adam = torch.optim.Adam(net.parameters(), 0.01)
        train = torch.from_numpy(images[IMAGES:])
        for _ in range(80):
            loss = nn.functional.cross_entropy(net(train + SIGMA * torch.randn_like(train)), labels[IMAGES:])
            adam.zero_grad()
            loss.backward()
            adam.step()
    return net.eval(), images[:IMAGES]


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_radii_equal_art(case: tuple[nn.Module, np.ndarray], alpha: float) -> None:
    net, images = case
    told = {"loss": nn.CrossEntropyLoss(), "input_shape": (1, 8, 8), "nb_classes": CLASSES, "device_type": "cpu"}
    smoothed = {"sample_size": N0, "scale": SIGMA, "alpha": alpha}
    np.random.seed(0)  # ART draws from the global generator
    voter = PyTorchRandomizedSmoothing(net, **told, **smoothed)
    counts = [voter._prediction_counts(x, n=n) for x in images for n in (N0, N)]

    art = Stored(net, **told, **smoothed)
    art.drawn = list(counts)
    predicted, radii = art.certify(images, n=N)

    labels = [str(digit) for digit in range(CLASSES)]
    scheme, ours = Scheme(SIGMA, alpha, OneClass(N0), Fixed(N)), []
    for first, rest in zip(counts[::2], counts[1::2]):
        votes = [dict(zip(labels, map(int, row))) for row in (rest, first)]
        ours.append(certify(scheme, "i", Tally(*votes)))
    assert [-1 if c.predicted is None else int(c.predicted) for c in ours] == predicted.tolist()
    assert np.abs(np.array([c.radius for c in ours]) - radii).max() < 1e-6 + 1e-9
    assert 5 < sum(c.predicted is not None for c in ours) < IMAGES  # both kinds occur
    assert len({c.radius for c in ours}) > 5
