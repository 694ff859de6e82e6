"""What an attacker may do to an image: a norm ball around the 8-bit image, cut with [0, 1], ending in 8 bits.

Images are float32 (..., 3, H, W) in [0, 1] whose values are n/255; "levels" are those n as int32. Whether an image
lies in the ball is decided on levels, in integers, so no rounding of floats can let a perturbation out of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

Norm = Literal["linf", "l2"]
WHITE = 255
_DUST = 1e-4
"""Grey levels below which a rest is float error, not perturbation."""


@dataclass(frozen=True)
class ThreatModel:
    """All images within `eps` of the clean one in `norm`. `eps` is exact, in units of [0, 1] pixels.

    Raises ValueError for another norm, a negative eps, and a linf eps that is not k/255 with k in 0..255.
    """

    norm: Norm
    eps: Fraction

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2"):
            raise ValueError(f"norm {self.norm!r} is neither linf nor l2")
        if self.eps < 0:
            raise ValueError(f"eps is {self.eps}: it may not be negative")
        if self.norm == "linf" and ((self.eps * WHITE).denominator != 1 or self.eps > 1):
            raise ValueError(f"a linf eps is k/255 with an integer k from 0 to 255, not {self.eps}")

    @cached_property
    def budget(self) -> int:
        """Largest allowed distance on levels: max |d| <= budget for linf, sum d^2 <= budget for l2."""
        scaled = self.eps * WHITE
        return int(scaled) if self.norm == "linf" else int(scaled * scaled)

    def distance(self, image: Tensor, clean: Tensor) -> int:
        """Distance of two (3, H, W) images in the units of `budget`, exact."""
        moved = (levels(image) - levels(clean)).to(torch.int64)
        if moved.numel() == 0:
            return 0
        return int(moved.abs().max()) if self.norm == "linf" else int(moved.square().sum())

    def contains(self, image: Tensor, clean: Tensor) -> bool:
        """Whether the 8-bit `image` is one the attacker may show for `clean`."""
        return self.distance(image, clean) <= self.budget

    def random_start(self, clean: Tensor, seed: int, allowed: Tensor | None = None) -> Tensor:
        """A uniform point of the ball around `clean` (3, H, W), clipped to [0, 1].

        allowed: (H, W) bool, the pixels that may change; None: all.
        Drawn on the CPU, so one seed gives one start on every device.
        """
        generator = torch.Generator().manual_seed(seed)
        eps = float(self.eps)
        free = clean.numel() if allowed is None else max(1, clean.shape[0] * int(allowed.sum()))
        keep = 1 if allowed is None else allowed.cpu()
        if self.norm == "linf":
            delta = (torch.rand(clean.shape, generator=generator) * 2 - 1) * eps * keep
        else:
            delta = torch.randn(clean.shape, generator=generator) * keep
            radius = torch.rand((), generator=generator) ** (1 / free)
            delta *= eps * radius / delta.norm().clamp_min(torch.finfo(torch.float32).tiny)
        return (clean + delta.to(clean.device)).clamp(0, 1)

    def direction(self, gradient: Tensor) -> Tensor:
        """Steepest ascent of unit norm for each example of (B, 3, H, W); zero where the gradient is zero."""
        if self.norm == "linf":
            return gradient.sign()
        return unit(gradient)

    def project(self, images: Tensor, clean: Tensor) -> Tensor:
        """Bring float (B, 3, H, W) into the ball and into [0, 1].

        l2 clips first and then shrinks towards the clean image, which stays inside the box because the box is convex;
        the other order would waste budget on pixels that are already black or white.
        """
        images = images.clamp(0, 1)
        eps = float(self.eps)
        if self.norm == "linf":
            return torch.clamp(images, clean - eps, clean + eps)
        delta = images - clean
        length = _norms(delta)
        return clean + delta * torch.where(length > eps, eps / length, 1)

    def finish(self, images: Tensor, clean: Tensor, start: Tensor | None = None) -> Tensor:
        """The 8-bit images that stand for float `images` (B, 3, H, W): inside the ball and [0, 1] exactly.

        start: `levels(clean)`, where it is known.

        linf rounds to the nearest level and clamps in integers. l2 rounds every pixel towards the clean one, then
        spends what the ball still allows on the pixels that lost most: nearest rounding would leave the ball, and
        would erase a perturbation that is everywhere below half a grey level.
        """
        start = levels(clean) if start is None else start
        if self.norm == "linf":
            wanted = levels(images, exact=False)
            return to_images(torch.clamp(wanted, start - self.budget, start + self.budget))
        wanted = self.project(images, clean).double() * WHITE
        return to_images(torch.stack([s + self.finish_delta(w - s) for w, s in zip(wanted, start)]))

    def finish_delta(self, wanted: Tensor) -> Tensor:
        """The int32 levels near `wanted` (float64 levels of one example, for l2 in the ball up to float error).

        In the ball exactly; where the image ends does not matter here.
        """
        if self.norm == "linf":
            return wanted.round().clamp(-self.budget, self.budget).to(torch.int32)
        delta = wanted.flatten()
        size = delta.abs().floor()
        left = self.budget - int(size.square().sum())
        while left < 0:  # float error of the projection: a few levels at most
            largest = int(size.argmax())
            left += 2 * int(size[largest]) - 1
            size[largest] -= 1
        lost = delta.abs() - size
        order = torch.argsort(lost, descending=True, stable=True)
        price = (2 * size[order] + 1).cumsum(0)
        paid = order[(price <= left) & (lost[order] > _DUST)]
        size[paid] += 1
        return (size * delta.sign()).to(torch.int32).reshape(wanted.shape)


def levels(images: Tensor, *, exact: bool = True) -> Tensor:
    """Nearest grey levels, int32. With `exact`, raises ValueError unless the images are 8-bit already."""
    scaled = images.detach().double() * WHITE
    nearest = scaled.round().clamp_(0, WHITE)
    if exact and not bool(((scaled - nearest).abs() <= 1e-3).all()):
        raise ValueError("the images are not 8-bit: their values in [0, 1] must be n/255")
    return nearest.to(torch.int32)


def to_images(grey: Tensor) -> Tensor:
    """Levels as float32 in [0, 1]."""
    return grey.to(torch.float32) / WHITE


def unit(batch: Tensor) -> Tensor:
    """Each example of (B, 3, H, W) scaled to L2 norm 1; zero stays zero."""
    # Divide by the largest entry first: squares of tiny gradients would underflow.
    largest = batch.abs().amax(dim=(1, 2, 3), keepdim=True)
    scaled = batch / torch.where(largest > 0, largest, 1)
    length = _norms(scaled)
    return scaled / torch.where(length > 0, length, 1)


def _norms(batch: Tensor) -> Tensor:
    """L2 norm of each example of (B, 3, H, W), as (B, 1, 1, 1).

    One reduction per example in float64: a batched one may sum in another order for another batch size, and the
    result for an example must not depend on its neighbours.
    """
    lengths: Sequence[Tensor] = [torch.linalg.vector_norm(example.double()) for example in batch]
    return torch.stack(list(lengths)).to(batch.dtype).view(-1, 1, 1, 1)
