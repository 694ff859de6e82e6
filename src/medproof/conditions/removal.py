"""Evidence taken away, or left alone: the region masked, or all but the region. No torch at import.

The control does the same to a region of exactly the same shape and area that holds no evidence. Items without evidence,
and those whose evidence leaves no room for the control, are skipped by the condition and its control alike.
"""

from collections.abc import Sequence

import numpy as np

from medproof.conditions.context import Context, Pixels
from medproof.conditions.controls import GREY
from medproof.conditions.evidence import Mask
from medproof.conditions.kind import Arguments, Kind
from medproof.conditions.parameters import choice
from medproof.conditions.regions import asked_about, moved_elsewhere
from medproof.records import Condition, Item, View
from medproof.seeds import rng

_RING = 4
"""Width of the ring that a local mean is taken of, in pixels."""
_WHERE = choice("where", ("region", "elsewhere"))
_FILL = choice("fill", ("grey", "mean"), "grey")


def masked(items: Sequence[Item], condition: Condition, given: Arguments, context: Context) -> list[View | None]:
    """`masked(where, fill)`: the region filled with mid-grey, or with the mean of a ring around it."""
    return [_view(item, condition, _region(item, given, context), given["fill"], context) for item in items]


def region_only(items: Sequence[Item], condition: Condition, given: Arguments, context: Context) -> list[View | None]:
    """`region_only(where)`: everything but the region filled with mid-grey."""
    regions = [_region(item, given, context) for item in items]
    return [
        _view(item, condition, None if region is None else ~region, "grey", context)
        for item, region in zip(items, regions)
    ]


def ring_around(region: Mask, width: int = _RING) -> Mask:
    """Pixels outside the region, at most `width` rows and columns from it."""
    from scipy import ndimage

    grown = ndimage.binary_dilation(region, structure=np.ones((2 * width + 1, 2 * width + 1)))
    ring: Mask = grown & ~region
    return ring


def _region(item: Item, given: Arguments, context: Context) -> Mask | None:
    """The evidence, or what stands for it elsewhere; None where there is no evidence, or no room elsewhere."""
    evidence = asked_about(item, context)
    if evidence is None:
        return None
    draw = rng(context.seed, item.id, "masked elsewhere")
    elsewhere = moved_elsewhere(evidence, evidence, context.load(item), draw, wrap=True)
    return elsewhere if elsewhere is None or given["where"] == "elsewhere" else evidence


def _view(item: Item, condition: Condition, region: Mask | None, fill: str, context: Context) -> View | None:
    if region is None:
        return None
    image = _filled(context.load(item), region, fill)
    return context.view(item, condition, image, {"masked_share": float(region.mean())})


def _filled(image: Pixels, region: Mask, fill: str) -> Pixels:
    filled = image.copy()
    ring = ring_around(region)
    filled[region] = np.rint(image[ring].mean(axis=0)).astype(np.uint8) if fill == "mean" and ring.any() else GREY
    return filled


KINDS = (
    Kind(
        "masked",
        "the evidence filled with mid-grey or the local mean, or an equal area elsewhere as control",
        masked,
        (_WHERE, _FILL),
        expected=lambda given: "any" if given["where"] == "region" else "keep",
        twin=lambda given: f"masked(elsewhere,{given['fill']})" if given["where"] == "region" else None,
    ),
    Kind(
        "region_only",
        "mid-grey everywhere but at the evidence, or but at an equal area elsewhere as control",
        region_only,
        (_WHERE,),
        expected=lambda given: "keep" if given["where"] == "region" else "any",
        twin=lambda given: "region_only(elsewhere)" if given["where"] == "region" else None,
    ),
)
