"""From an Item to pixels on the model's grid, through a small cache; and a check of all images before work begins."""

import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medproof.errors import UserError
from medproof.images.decode import check_header, decode
from medproof.images.grid import Grid
from medproof.records import Item

if TYPE_CHECKING:
    from medproof.datasets import Dataset

Pixels = npt.NDArray[np.uint8]
_Key = tuple[str, int | None, str | None]
CACHE_BYTES = 512 * 2**20
_THREADS = 8


class ImageLoader:
    """Decoded and rendered images, the most recently used kept up to `cache_bytes`. Safe to call from threads."""

    def __init__(
        self, dataset: "Dataset", grid: Grid | None, *, allow_identified: bool = False, cache_bytes: int = CACHE_BYTES
    ) -> None:
        """With `grid` None images keep their stored size."""
        self._dataset = dataset
        self._grid = grid
        self._allow_identified = allow_identified
        self._room = cache_bytes
        self._cache: OrderedDict[_Key, Pixels] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, item: Item) -> Pixels:
        """uint8 (H, W, 3) on the grid, read-only. Raises UserError where the image cannot be used."""
        key = (item.image, item.frame, item.window)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        pixels = self._load(item)
        with self._lock:
            self._keep(key, pixels)
        return pixels

    def _load(self, item: Item) -> Pixels:
        path = self._dataset.image_path(item)
        decoded = decode(path, frame=item.frame, window=item.window, allow_identified=self._allow_identified)
        pixels = decoded.pixels if self._grid is None else self._grid.render(decoded.pixels)
        pixels = np.ascontiguousarray(pixels)
        if not pixels.flags.owndata:
            pixels = pixels.copy()  # a view would keep its base alive, uncounted
        pixels.setflags(write=False)
        return pixels

    def _keep(self, key: _Key, pixels: Pixels) -> None:
        if key in self._cache:
            return
        self._cache[key] = pixels
        self._room -= pixels.nbytes
        while self._room < 0:
            _, oldest = self._cache.popitem(last=False)
            self._room += oldest.nbytes


def check(dataset: "Dataset", *, allow_identified: bool = False) -> int:
    """Look at the header of every distinct image, before a model is loaded; returns how many there are.

    Raises UserError with the number of images that cannot be used and the reason of the first.
    """
    distinct = list({(item.image, item.frame): item for item in dataset.items}.values())
    with ThreadPoolExecutor(_THREADS) as pool:
        reasons = [
            r for r in pool.map(lambda item: _problem(dataset, item, allow_identified), distinct) if r is not None
        ]
    if reasons:
        raise UserError(_complaint(reasons, len(distinct)))
    return len(distinct)


def _problem(dataset: "Dataset", item: Item, allow_identified: bool) -> str | None:
    try:
        check_header(dataset.image_path(item), frame=item.frame, allow_identified=allow_identified)
    except UserError as error:
        return str(error)
    return None


def _complaint(reasons: list[str], total: int) -> str:
    if len(reasons) == 1:
        return reasons[0]
    return f"{len(reasons)} of {total} images cannot be used; first: {reasons[0]}"
