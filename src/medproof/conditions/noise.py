"""Random corruptions of the 8-bit image. No torch at import.

`noise` is a corruption that a model may meet in practice: Gaussian, then clipped to [0, 1] and rounded to 8 bits. It
is *not* the noise of randomized smoothing, which is never clipped or rounded. `random_sign` and `random_l2` are the
control twins of attacks: as large as the attack's ball allows, in a direction that knows nothing of the model.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from medproof.conditions.context import Context, Pixels
from medproof.conditions.distances import distances
from medproof.conditions.kind import Arguments, Kind, Parameter, Prepare
from medproof.conditions.parameters import WHITE, grey_levels, l2_eps, linf_eps, sigma
from medproof.records import Condition, Item, View

_Change = Callable[[Pixels, Arguments, np.random.Generator], Pixels]


def _noise(image: Pixels, given: Arguments, rng: np.random.Generator) -> Pixels:
    scale = float(Fraction(given["sigma"])) * WHITE
    # Rounded and clipped as float: a cast would wrap black round to white.
    return np.rint(image + rng.normal(0.0, scale, image.shape)).clip(0, WHITE).astype(np.uint8)


def _random_sign(image: Pixels, given: Arguments, rng: np.random.Generator) -> Pixels:
    signs = rng.integers(0, 2, image.shape, dtype=np.int16) * 2 - 1
    return (image + signs * grey_levels(given["eps"])).clip(0, WHITE).astype(np.uint8)


def _random_l2(image: Pixels, given: Arguments, rng: np.random.Generator) -> Pixels:
    from medproof.attacks.random_noise import random_border
    from medproof.attacks.threat import ThreatModel
    from medproof.images.preprocess import to_float, to_uint8

    border = random_border(to_float(image), ThreatModel("l2", Fraction(given["eps"])), rng)
    return to_uint8(border)


def _every_item(change: _Change) -> Prepare:
    """Apply `change` to each item's image, with the item's own random generator, and measure what it did."""

    def prepare(items: Sequence[Item], condition: Condition, given: Arguments, context: Context) -> list[View | None]:
        views: list[View | None] = []
        for item in items:
            own = context.load(item)
            rng = np.random.Generator(np.random.PCG64(context.item_seed(item, condition)))
            image = change(own, given, rng)
            views.append(context.view(item, condition, image, distances(own, image)))
        return views

    return prepare


KINDS = (
    Kind(
        "noise",
        "Gaussian noise of standard deviation sigma in [0, 1] pixels, clipped and rounded to 8 bits",
        _every_item(_noise),
        (Parameter("sigma", sigma),),
        expected="keep",
    ),
    Kind(
        "random_sign",
        "every pixel up or down by eps (k/255) at random: control twin of linf attacks",
        _every_item(_random_sign),
        (Parameter("eps", linf_eps),),
        expected="keep",
    ),
    Kind(
        "random_l2",
        "a random direction of length eps in [0, 1] pixels: control twin of l2 attacks",
        _every_item(_random_l2),
        (Parameter("eps", l2_eps),),
        expected="keep",
    ),
)
