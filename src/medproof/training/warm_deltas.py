"""Where the attack on each item ended last time: the warm start of the next. Written into checkpoints."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from medproof.attacks.threat import ThreatModel, levels

_FILE = "warm_deltas.safetensors"
_SMALL = 127


class WarmDeltas:
    """The last perturbation of each item, in grey levels, one byte per value (two beyond 127).

    A perturbation belongs to the frame of the image on the grid. Augmentation changes that image, and the perturbation
    does not follow a crop or a mirror: it is laid on the new image as it is and brought back into ball and box.
    """

    def __init__(self) -> None:
        self._of: dict[str, torch.Tensor] = {}

    def start(self, item: str, clean: torch.Tensor, threat: ThreatModel) -> torch.Tensor | None:
        """A point of the ball around `clean` (3, H, W); None for an item not yet seen, or seen at another size."""
        delta = self._of.get(item)
        if delta is None or delta.shape != clean.shape:
            return None
        return threat.project((clean + delta.float() / 255)[None], clean[None])[0]

    def update(self, items: Iterable[str], deltas: Iterable[torch.Tensor]) -> None:
        """Keep these; of an item that comes twice the last one counts."""
        self._of.update(zip(items, deltas, strict=True))

    def save(self, folder: Path) -> None:
        save_file(self._of, folder / _FILE)

    def load(self, folder: Path) -> None:
        self._of = load_file(folder / _FILE)


def as_delta(image: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """The perturbation between two 8-bit images, in grey levels."""
    delta = levels(image) - levels(clean)
    return delta.to(torch.int8 if int(delta.abs().max()) <= _SMALL else torch.int16)
