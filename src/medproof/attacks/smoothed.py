"""Attacking a smoothed model through its noise: expectation over draws (Athalye et al. 2018, arXiv:1707.07397;
for randomized smoothing Salman et al. 2019, arXiv:1906.04584)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from medproof.attacks.objective import Score
from medproof.seeds import derive_seed


class SmoothedScore:
    """The score of the model that sees its image under Gaussian noise: mean loss, and the majority's verdict.

    The noise is the smoothed model's own: float, neither clipped nor rounded. The attacked image under it stays 8-bit.
    sigma: standard deviation in [0, 1] pixels. draws: noisy copies an image; each costs one pass of `score`.
    seeds: one per example. An example's noise depends on its seed and on how often it was asked before, so an attack
        meets fresh noise at each step (unbiased gradients), and the same in any batch. A score therefore serves one
        attack. `fresh=False` repeats the noise of the first call: a fixed, deterministic function.

    An image is adversarial if more than half of the draws are wrong. With few draws an attack that keeps its best
    image also keeps lucky draws: success has to be judged anew, by the smoothed model's own vote. With more than two
    options the vote may still be for the right one, or for a wrong one without a majority.
    """

    def __init__(self, score: Score, *, sigma: float, draws: int, seeds: Sequence[int], fresh: bool = True) -> None:
        if sigma < 0 or draws < 1:
            raise ValueError(f"sigma is not negative and draws are at least 1, not {sigma} and {draws}")
        self.score, self.sigma, self.draws, self.seeds, self.fresh = score, sigma, draws, list(seeds), fresh
        self.calls = [0] * len(self.seeds)

    @property
    def forwards_per_call(self) -> int:
        """Forward passes of the model that one call takes."""
        return self.draws * int(getattr(self.score, "forwards_per_call", 1))

    def __call__(self, pixels: Sequence[Tensor], indices: Sequence[int], /) -> tuple[Tensor, Tensor]:
        calls = [self.calls[i] if self.fresh else 0 for i in indices]
        losses, votes = [], []
        for draw in range(self.draws):
            noisy = [
                image + self._noise(image, derive_seed(self.seeds[i], f"{call}/{draw}", "smoothing"))
                for image, i, call in zip(pixels, indices, calls)
            ]
            loss, adversarial = self.score(noisy, indices)
            losses.append(loss)
            votes.append(adversarial)
        for i in indices:
            self.calls[i] += 1
        return torch.stack(losses).mean(0), 2 * torch.stack(votes).sum(0) > self.draws

    def _noise(self, image: Tensor, seed: int) -> Tensor:
        """Drawn on the CPU, so one seed gives one noise on every device."""
        drawn = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
        return self.sigma * drawn.to(image)
