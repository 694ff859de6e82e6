"""The pictures of the page: PNG bytes of the run store, each embedded once, within a fixed number of bytes."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from medproof.errors import UserError

MAX_IMAGE_BYTES = 15 * 2**20
"""Of PNG; base64 makes 20 MiB of them, which keeps the page under 25 MB."""
NO_IMAGE = "0" * 64

Pixels = npt.NDArray[np.uint8]
Load = Callable[[str], tuple[Pixels, bytes] | None]
"""Hash to pixels and the PNG that holds them; None where there is no such picture."""


@dataclass(frozen=True)
class Picture:
    """What a hash led to: pixels and their PNG, or one line that says why there are none."""

    pixels: Pixels | None = None
    png: bytes = b""
    missing: str | None = None


@dataclass
class Gallery:
    """Pictures by hash, numbered in the order in which they were taken."""

    budget: int = MAX_IMAGE_BYTES
    used: int = 0
    numbers: dict[str, int] = field(default_factory=dict)
    _seen: dict[str, Picture] = field(default_factory=dict)

    def look(self, sha: str, load: Load) -> Picture:
        """The picture behind a hash, from the store the first time. A broken file becomes a `missing` line."""
        if sha not in self._seen:
            self._seen[sha] = _read(sha, load)
        return self._seen[sha]

    def cost(self, shas: set[str], load: Load) -> int:
        """Bytes of PNG that embedding `shas` would add."""
        return sum(len(self.look(sha, load).png) for sha in shas if sha not in self.numbers)

    def take(self, sha: str, load: Load) -> int:
        """Embed the picture (once) and return its number."""
        if sha not in self.numbers:
            self.used += len(self.look(sha, load).png)
            self.numbers[sha] = len(self.numbers)
        return self.numbers[sha]

    def fits(self, sha: str, load: Load) -> bool:
        return self.used + self.cost({sha}, load) <= self.budget

    def to_json(self) -> list[dict[str, Any]]:
        """Per number: hash, width, height and base64 PNG, or the line that says why there is none."""
        rows: list[dict[str, Any]] = []
        for sha in self.numbers:
            picture = self._seen[sha]
            if picture.pixels is None:
                rows.append({"sha256": sha, "missing": picture.missing})
            else:
                height, width = picture.pixels.shape[:2]
                png = base64.b64encode(picture.png).decode()
                rows.append({"sha256": sha, "width": width, "height": height, "png": png})
        return rows


def _read(sha: str, load: Load) -> Picture:
    try:
        found = load(sha)
    except (UserError, OSError, ValueError):  # the message would carry a path; the page may not
        return Picture(missing="the stored picture is damaged: delete the file and run the same command again")
    if found is None:
        return Picture(missing="the run holds no picture under this hash")
    return Picture(*found)


def difference(clean: Pixels | None, other: Pixels | None) -> dict[str, float] | None:
    """How far `other` lies from `clean`, both uint8 (H, W, 3): `linf` in grey levels, `l2` with pixels in [0, 1],
    `changed` as the share of values that differ. None where shapes differ or one is absent.
    """
    if clean is None or other is None or clean.shape != other.shape:
        return None
    delta = other.astype(np.int16) - clean.astype(np.int16)
    norm = float(np.sqrt(np.square(delta.astype(np.float64) / 255).sum()))
    return {"linf": int(np.abs(delta).max()), "l2": round(norm, 4), "changed": round(float(np.mean(delta != 0)), 4)}
