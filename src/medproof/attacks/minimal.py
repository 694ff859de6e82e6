"""What searches for the smallest perturbation share: the closest image so far, its 8-bit finish, bisection over eps."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from medproof.attacks.ascent import buckets_of, evaluate
from medproof.attacks.objective import Score
from medproof.attacks.result import AttackResult, Tracker
from medproof.attacks.targeted import subset
from medproof.attacks.threat import WHITE, Norm, ThreatModel, levels
from medproof.seeds import derive_seed

FINISH_TRIES = 12
"""Most lengths tried on the way from a float image to an 8-bit one. Each costs one forward pass."""
_STRIDE = 1.02
_LARGEST_STRIDE = 256.0
_CLOSE = 1.002
"""Two lengths with a smaller ratio are not worth another pass."""

FixedEps = Callable[[Score, Sequence[Tensor], ThreatModel, Sequence[int]], AttackResult]
"""(score, images, threat, seeds) -> result: an attack within a ball, its other settings filled in."""


@dataclass(frozen=True, eq=False)
class MinimalResult:
    """One entry per example, in the caller's order. Tensors live on the CPU.

    images: 8-bit images (3, H, W), float32 in [0, 1]: the closest adversarial one found, else the clean image.
    success: (n,) bool, an adversarial 8-bit image was found; the clean image itself counts.
    distance: (n,) float64, of the returned image from the clean one, in [0, 1] pixels; inf without success.
    loss: (n,) float32, of the returned image; -inf without success.
    forwards, backwards: (n,) int64, passes of the model that this example took part in.
    zero_gradients: (n,) int64, passes whose gradient was exactly zero: a sign of masked gradients.
    broken: (n,) bool, a loss was NaN or a gradient not finite; the search for this example stopped there.
    """

    images: list[Tensor]
    success: Tensor
    distance: Tensor
    loss: Tensor
    forwards: Tensor
    backwards: Tensor
    zero_gradients: Tensor
    broken: Tensor


class Closest(Tracker):
    """Keeps, per example, the adversarial image closest to the clean one; before the finish, these are float images.

    fooling, walked: verdict and distance of the last image offered.
    """

    def __init__(self, clean: Sequence[Tensor], norm: Norm = "l2") -> None:
        super().__init__(clean)
        self.clean = list(clean)
        self.norm = norm
        self.distance = [math.inf] * len(clean)
        self.fooling = [False] * len(clean)
        self.walked = [0.0] * len(clean)

    def offer(self, index: int, image: Tensor, loss: float, adversarial: bool) -> None:
        """Remember `image` if it is adversarial and closer than what is held. One with a NaN loss is neither."""
        self.broken[index] |= loss != loss
        image, clean = image.detach().to(self.clean[index].device), self.clean[index].double()
        delta = (image.double() - clean).flatten()
        self.walked[index] = float(torch.linalg.vector_norm(delta, math.inf if self.norm == "linf" else 2))
        self.fooling[index] = adversarial and loss == loss
        if self.fooling[index] and self.walked[index] < self.distance[index]:
            self.images[index] = image.clone()
            self.loss[index] = loss
            self.success[index] = True
            self.distance[index] = self.walked[index]

    def release(self) -> dict[int, Tensor]:
        """Give up what is held, by example, but for images that were adversarial as they came."""
        held = {i: self.images[i] for i, distance in enumerate(self.distance) if 0 < distance < math.inf}
        for i in held:
            self.images[i], self.loss[i] = self.clean[i], -math.inf
            self.success[i], self.distance[i] = False, math.inf
        return held

    def freeze(self) -> MinimalResult:
        """A MinimalResult of the 8-bit images held, with distances measured on grey levels."""
        best, unit = self.result(), ThreatModel(self.norm, Fraction(0))
        distance = torch.full((len(self.images),), math.inf, dtype=torch.float64)
        for i, (image, clean) in enumerate(zip(self.images, self.clean)):
            if self.success[i]:
                measured = unit.distance(image, clean)
                distance[i] = (measured if self.norm == "linf" else math.sqrt(measured)) / WHITE
        return MinimalResult(
            best.images,
            best.success,
            distance,
            best.loss,
            best.forwards,
            best.backwards,
            best.zero_gradients,
            best.broken,
        )


@dataclass
class Bracket:
    """Search of the smallest positive number that is enough: strides that double in the exponent, then bisection."""

    value: float  # comes next
    stride: float
    low: float = 0.0  # the largest known to be too small
    high: float = math.inf  # the smallest known to be enough

    def judge(self, enough: bool, reached: float | None = None) -> None:
        """Note the verdict on `value`, and choose the next. reached: what was enough in truth, where it was less."""
        if enough:
            self.high = min(self.high, self.value if reached is None else reached)
        else:
            self.low = max(self.low, self.value)
        if self.low > 0 and self.high < math.inf:
            self.value = math.sqrt(self.low * self.high)
        else:
            self.value = self.high / self.stride if enough else self.low * self.stride
            self.stride = min(self.stride**2, _LARGEST_STRIDE)


def begin(
    score: Score, images: Sequence[Tensor], seeds: Sequence[int]
) -> tuple[Closest, dict[int, tuple[float, float]]]:
    """Check the arguments and ask about the clean images.

    Returns the tracker and, for the examples to search, which are not adversarial as they are, |loss| and the L2 norm
    of the gradient: were the loss linear, their quotient would be the distance to go. It is never 0, nor below one
    grey level. Raises ValueError for images that are not 8-bit, or lists of unequal length.
    """
    if len(seeds) != len(images):
        raise ValueError(f"{len(images)} images need as many seeds")
    for image in images:
        levels(image)
    closest, slopes = Closest(images), {}
    buckets = buckets_of(images, range(len(images)))
    for bucket, (gradient, loss) in zip(buckets, evaluate(score, buckets, closest, gradient=True)):
        for row, i in enumerate(bucket.indices):
            if not (closest.success[i] or closest.broken[i]):
                slope = float(torch.linalg.vector_norm(gradient[row].double())) or 1.0
                slopes[i] = (max(abs(float(loss[row])), slope / WHITE), slope)
    return closest, slopes


def finish_l2(score: Score, closest: Closest, limit: float = math.inf) -> MinimalResult:
    """Turn the float images of a search into the closest 8-bit ones that are still adversarial.

    Rounding may undo what a float image does. So lengths around its own are tried along the same direction: outwards
    until the 8-bit image of that length is adversarial, then between the two. limit: lengths above it are not tried.
    """
    rays = {i: _Ray.through(closest.clean[i], image, limit) for i, image in closest.release().items()}
    for _ in range(FINISH_TRIES):
        tried = {i: ray.image() for i, ray in rays.items() if ray.open}
        if not tried:
            break
        with torch.no_grad():
            closest.ask(score, list(tried.values()), list(tried))
        for i in tried:
            rays[i].judge(closest.fooling[i], closest.walked[i])
    return closest.freeze()


@dataclass
class _Ray:
    """A direction from the clean image, and the lengths that fool the model along it."""

    clean: Tensor
    direction: Tensor  # (3, H, W) float64 of unit length
    lengths: Bracket
    limit: float

    @classmethod
    def through(cls, clean: Tensor, image: Tensor, limit: float) -> "_Ray":
        delta = image.double() - clean.double()
        length = float(delta.norm())
        limit = min(limit, math.sqrt(delta.numel()))  # the box ends there
        return cls(clean, delta / length, Bracket(min(length, limit), _STRIDE), limit)

    @property
    def open(self) -> bool:
        """Whether another length could still bring something."""
        lengths = self.lengths
        return lengths.low < lengths.value < lengths.high and lengths.high > _CLOSE * lengths.low

    def image(self) -> Tensor:
        """The 8-bit image of at most the next length in this direction."""
        wanted = (self.clean + self.lengths.value * self.direction).float()
        return ThreatModel("l2", Fraction(self.lengths.value)).finish(wanted[None], self.clean[None])[0]

    def judge(self, fooled: bool, length: float) -> None:
        """Note the verdict on the image, which is `length` from the clean one."""
        self.lengths.judge(fooled, length)
        self.lengths.value = min(self.lengths.value, self.limit)


def smallest_eps(
    attack: FixedEps, score: Score, images: Sequence[Tensor], *, seeds: Sequence[int], largest: int = WHITE
) -> MinimalResult:
    """The smallest linf eps = k/255, 0 <= k <= `largest`, at which `attack` succeeds, by bisection for each example.

    images: 8-bit (3, H, W) in [0, 1], any shapes. seeds: one per example.
    Runs the attack about log2(largest) times, on the examples that ask for the same eps together. Bisection takes
    success to be monotone in eps; each image returned is adversarial at the distance stated, whether or not it is.
    """
    closest = Closest(images, "linf")
    failed, fooled = [-1] * len(images), [largest + 1] * len(images)
    while True:
        asked: dict[int, list[int]] = {}
        for i in range(len(images)):
            if fooled[i] - failed[i] > 1:
                asked.setdefault((failed[i] + fooled[i]) // 2, []).append(i)
        if not asked:
            return closest.freeze()
        for k, group in asked.items():
            threat = ThreatModel("linf", Fraction(k, WHITE))
            seeds_of_k = [derive_seed(seeds[i], str(k), "eps") for i in group]
            result = attack(subset(score, group), [images[i] for i in group], threat, seeds_of_k)
            closest.merge(result, group)
            for i, success in zip(group, result.success.tolist()):
                if success:
                    fooled[i] = round(closest.walked[i] * WHITE)
                else:
                    failed[i] = k


def at_least(score: Score, kappa: float) -> Score:
    """The score with adversarial images of a loss below `kappa` not counted."""

    def confident(pixels: Sequence[Tensor], indices: Sequence[int], /) -> tuple[Tensor, Tensor]:
        loss, adversarial = score(pixels, indices)
        return loss, adversarial & (loss.detach() >= kappa)

    return confident
