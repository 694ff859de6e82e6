"""Square Attack (Andriushchenko et al. 2020, arXiv:1912.00049): random search with squares, by queries alone.

Each query changes one square of the best image so far, to the border of the ball, and is kept if the loss does not
fall. Squares shrink as queries are spent. It needs no gradient, so it is also the check that a model does not merely
hide its gradient. Differences from the paper: all images are 8-bit, so for linf the whole search is in integers; ties
are kept, which lets it walk across plateaus; under a mask, squares are drawn in the mask's bounding box.

A score with option probabilities gives the search a slope. One that knows only the decision (the letter that the model
replies with) gives as loss 0 while the model is right and 1 once it is wrong: then every change ties and the search is
a walk along the border of the ball until one image is wrong.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medproof.attacks.ascent import check
from medproof.attacks.objective import Score
from medproof.attacks.result import AttackResult, Tracker
from medproof.attacks.threat import WHITE, ThreatModel, levels, to_images
from medproof.seeds import rng

_HALVINGS = (10, 50, 200, 1000, 2000, 4000, 6000, 8000)
"""Queries of 10,000 after which the area of squares is halved."""
_TRIES = 10
"""Draws until one changes the image."""
_TILES = 5
"""Tiles a side that the l2 search begins with."""

Floats = npt.NDArray[np.float64]


def square(
    score: Score,
    images: Sequence[Tensor],
    threat: ThreatModel,
    *,
    queries: int,
    seeds: Sequence[int],
    area: float = 0.8,
    allowed: Sequence[Tensor] | None = None,
    enough: float = -math.inf,
) -> AttackResult:
    """Search the ball around each image by asking the score, never for a gradient.

    images, seeds, allowed and errors as in `pgd`.
    queries: most images of an example that the score is shown; the clean one is the first.
    area: share of the image that the first squares cover.
    enough: the search for an example ends when it is adversarial with at least this loss; by default at once.
    Cost per example: at most `queries` forwards; fewer too where no change is left to try, as on a single pixel.
    """
    if queries < 1:
        raise ValueError(f"queries are at least 1, not {queries}")
    if not 0 < area <= 1:
        raise ValueError(f"area is a share above 0 and up to 1, not {area}")
    tracker = Tracker(images)
    movable = check(images, threat, allowed, seeds)
    with torch.no_grad():
        tracker.ask(score, images, range(len(images)))
        searches = {
            i: _Search(images[i], threat, seeds[i], area, None if allowed is None else allowed[i]) for i in movable
        }
        for query in range(1, queries):
            todo = [i for i in searches if tracker.goes_on(i, enough)]
            if not todo:
                break
            proposed = {i: searches[i].propose(query / queries) for i in todo}
            tried = {i: image for i, image in proposed.items() if image is not None}
            if tried:
                loss = tracker.ask(score, list(tried.values()), list(tried)).float().tolist()
                for i, value in zip(tried, loss):
                    searches[i].judge(value)
    for i in searches:
        tracker.restarts_used[i] = int(tracker.forwards[i] > 1)
    return tracker.result()


class _Search:
    """The search of one example: the current change and the one being asked, as levels on the CPU."""

    def __init__(self, clean: Tensor, threat: ThreatModel, seed: int, area: float, allowed: Tensor | None) -> None:
        self.device, self.threat, self.area = clean.device, threat, area
        self.clean = levels(clean).cpu()
        self.mask = torch.ones(clean.shape[1:], dtype=torch.bool) if allowed is None else allowed.cpu()
        down, across = self.mask.any(1).nonzero(), self.mask.any(0).nonzero()
        self.top, self.left = int(down[0]), int(across[0])
        self.height, self.width = int(down[-1]) + 1 - self.top, int(across[-1]) + 1 - self.left
        self.rng = rng(seed, "", "square")
        self.loss = -math.inf
        self.current = self.asked = self.clean

    def propose(self, spent: float) -> Tensor | None:
        """The next 8-bit image to ask; None if no draw changes anything. spent: share of the queries."""
        for _ in range(_TRIES):
            if self.loss == -math.inf:
                delta = self._stripes() if self.threat.norm == "linf" else self._tiles()
            else:
                side = self._side(spent)
                delta = self._recoloured(side) if self.threat.norm == "linf" else self._moved(side)
            self.asked = self._image(delta)
            if not torch.equal(self.asked, self.current):
                return to_images(self.asked).to(self.device)
        return None

    def judge(self, loss: float) -> None:
        """Keep the image asked unless it is worse."""
        if loss >= self.loss:
            self.current, self.loss = self.asked, loss

    def _image(self, delta: Floats) -> Tensor:
        """Levels nearest to clean + delta (grey levels) in the ball, the box and the mask."""
        wanted = torch.from_numpy(delta) * self.mask
        if self.threat.norm == "linf":
            return (self.clean + self.threat.finish_delta(wanted)).clamp(0, WHITE)
        clean = to_images(self.clean)[None]
        return levels(self.threat.finish(clean + wanted[None].float() / WHITE, clean))[0]

    def _delta(self) -> Floats:
        return (self.current - self.clean).double().numpy()

    def _side(self, spent: float) -> int:
        """Side of the square, from 1 to the shorter side of the box."""
        halvings = sum(spent * 10_000 > mark for mark in _HALVINGS)
        side = round(math.sqrt(self.area / 2**halvings * self.height * self.width))
        return min(max(side, 1), self.height, self.width)

    def _place(self, side: int) -> tuple[slice, slice]:
        top = self.top + int(self.rng.integers(self.height - side + 1))
        left = self.left + int(self.rng.integers(self.width - side + 1))
        return slice(top, top + side), slice(left, left + side)

    def _signs(self, *shape: int) -> npt.NDArray[np.int64]:
        return self.rng.integers(0, 2, shape) * 2 - 1

    def _stripes(self) -> Floats:
        """Vertical stripes at the border of the ball."""
        channels, height, width = self.clean.shape
        stripes = np.broadcast_to(self._signs(channels, 1, width), (channels, height, width))
        return stripes.astype(np.float64) * self.threat.budget

    def _recoloured(self, side: int) -> Floats:
        """One square at another corner of the linf ball."""
        delta = self._delta()
        delta[:, *self._place(side)] = self._signs(len(delta), 1, 1) * self.threat.budget
        return delta

    def _tiles(self) -> Floats:
        """A grid of bumps of random sign that spend the whole l2 ball."""
        delta = np.zeros(tuple(self.clean.shape))
        side = max(1, min(self.height, self.width) // _TILES)
        for top in range(self.top, self.top + self.height - side + 1, side):
            for left in range(self.left, self.left + self.width - side + 1, side):
                delta[:, top : top + side, left : left + side] = self._signs(len(delta), 1, 1) * self._bump(side)
        return self._spend(delta)

    def _moved(self, side: int) -> Floats:
        """A bump added in one square and paid for by another one and by what of the l2 ball is unspent."""
        delta = self._delta()
        to, source = self._place(side), self._place(side)
        unspent = max(0.0, self.threat.budget - float(np.square(delta).sum()))
        both = np.zeros(delta.shape[1:], dtype=bool)
        both[to] = both[source] = True
        for channel in delta:
            available = math.sqrt(float(np.square(channel[both]).sum()) + unspent / len(delta))
            held = float(np.linalg.norm(channel[to]))
            pattern = self._signs(1)[0] * self._bump(side) + (channel[to] / held if held > 0 else 0.0)
            channel[source] = 0.0
            channel[to] = pattern * (available / max(float(np.linalg.norm(pattern)), 1e-12))
        return delta

    def _bump(self, side: int) -> Floats:
        """Two pyramids of opposite sign side by side, of norm 1, lying or standing (the paper's eq. 2)."""
        half = side // 2
        bump: Floats = np.concatenate([_pyramid(side, half), -_pyramid(side, side - half)], axis=1)
        bump /= np.sqrt(np.square(bump).sum())
        turned: Floats = bump.T if self.rng.integers(2) else bump
        return turned

    def _spend(self, delta: Floats) -> Floats:
        """Scaled to the length of the ball, within the mask."""
        delta[:, ~self.mask.numpy()] = 0
        delta *= math.sqrt(self.threat.budget) / max(float(np.linalg.norm(delta)), 1e-12)
        return delta


def _pyramid(height: int, width: int) -> Floats:
    """Height x width; a cell k rings inside holds the sum of 1 / (n + 1 - j)^2 for j from 0 to k, n = height // 2."""
    half = height // 2
    down, across = np.abs(np.arange(height) - half), np.abs(np.arange(width) - width // 2)
    ring = half - np.maximum(down[:, None], across[None, :])
    heights: Floats = np.cumsum(1 / np.square(half + 1.0 - np.arange(half + 1)))
    pyramid: Floats = heights[ring]
    return pyramid
