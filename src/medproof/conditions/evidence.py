"""Where in an image the evidence of an item lies. No torch."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from medproof.conditions.context import Context
from medproof.datasets.paths import inside
from medproof.images.decode import decode
from medproof.records import Evidence, Item

Mask = npt.NDArray[np.bool_]


def evidence_mask(item: Item, context: Context) -> Mask | None:
    """(H, W) of the item's image on the model's grid, true wherever a pixel takes part in evidence; None without any.

    The mask file where there is one (every value but 0, whatever its class), else the boxes. An annotated pixel marks
    every grid pixel it touches. Raises UserError for a mask that is missing or cannot be read.
    """
    evidence = item.evidence
    if evidence is None or not (evidence.boxes or evidence.mask):
        return None
    height, width = context.load(item).shape[:2]
    stored = _boxes(item, evidence, context) if evidence.mask is None else _file(evidence.mask, context)
    shown = Image.fromarray(stored.astype(np.float32)).resize((width, height), Image.Resampling.BOX)
    mask: Mask = np.asarray(shown) > 0
    return mask if mask.any() else None


def _file(path: str, context: Context) -> Mask:
    return np.asarray(decode(inside(context.dataset.root, path)).pixels.max(axis=2) > 0)


def _boxes(item: Item, evidence: Evidence, context: Context) -> Mask:
    """The boxes in the frame of the stored image."""
    height, width = _stored_size(item, context)
    mask = np.zeros((height, width), dtype=np.bool_)
    for box in evidence.boxes:
        x0, y0, x1, y1 = box.xyxy
        mask[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = True
    return mask


def _stored_size(item: Item, context: Context) -> tuple[int, int]:
    if item.height is not None and item.width is not None:
        return item.height, item.width
    decoded = decode(context.dataset.image_path(item), frame=item.frame, window=item.window, allow_identified=True)
    height, width = decoded.pixels.shape[:2]
    return height, width
