"""The model's pixel grid: to which size an image is resized, once, in 8 bit. NumPy and PIL only.

The sizes are those of the Qwen2-VL family ("smart resize", Wang et al. 2024, arXiv 2409.12191, section 2.1): height and
width are multiples of patch size x merge size, the area lies in [min_pixels, max_pixels], the aspect ratio is kept as
nearly as these allow. An image rendered here is a fixed point of the stock processor.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from medproof.errors import UserError

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
MAX_ASPECT_RATIO = 200
_MAX_STEPS = 64


@dataclass(frozen=True)
class Grid:
    """Sizes and normalisation of one model's vision input. `image_mean`, `image_std`: per channel, pixels in [0, 1]."""

    patch_size: int = 14
    merge_size: int = 2
    temporal_patch_size: int = 2
    min_pixels: int = 3136
    max_pixels: int = 1003520
    image_mean: tuple[float, float, float] = CLIP_MEAN
    image_std: tuple[float, float, float] = CLIP_STD

    def __post_init__(self) -> None:
        if min(self.patch_size, self.merge_size, self.temporal_patch_size, self.min_pixels) < 1:
            raise ValueError("a grid's patch, merge and temporal sizes and min_pixels are at least 1")
        if self.max_pixels < max(self.min_pixels, self.factor**2):
            raise ValueError(
                f"max_pixels {self.max_pixels} is below min_pixels {self.min_pixels} or one cell of "
                f"{self.factor}x{self.factor} pixels"
            )
        if len(self.image_mean) != 3 or len(self.image_std) != 3 or min(self.image_std) <= 0:
            raise ValueError("image_mean and image_std have three values each, and image_std is positive")

    @property
    def factor(self) -> int:
        """Height and width are multiples of this many pixels."""
        return self.patch_size * self.merge_size

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) the stock processor resizes to. Raises UserError for images longer than 200 : 1."""
        if height < 1 or width < 1:
            raise UserError(f"an image of {width}x{height} pixels has nothing to show")
        if max(height, width) / min(height, width) > MAX_ASPECT_RATIO:
            raise UserError(
                f"an image of {width}x{height} pixels is longer than {MAX_ASPECT_RATIO} : 1; crop it before use"
            )
        # Python's round (half to even) and the order of the float operations are part of the stock definition.
        factor = self.factor
        h = round(height / factor) * factor
        w = round(width / factor) * factor
        if h * w > self.max_pixels:
            shrink = math.sqrt((height * width) / self.max_pixels)
            h = max(factor, math.floor(height / shrink / factor) * factor)
            w = max(factor, math.floor(width / shrink / factor) * factor)
        elif h * w < self.min_pixels:
            enlarge = math.sqrt(self.min_pixels / (height * width))
            h = math.ceil(height * enlarge / factor) * factor
            w = math.ceil(width * enlarge / factor) * factor
        return h, w

    def fixed_size(self, height: int, width: int) -> tuple[int, int]:
        """`size` repeated until it no longer changes: once, but for very long images on small grids.

        Raises UserError where min_pixels and max_pixels are so close that the stock rule goes round in circles.
        """
        current = (height, width)
        for _ in range(_MAX_STEPS):
            after = self.size(*current)
            if after == current:
                return current
            current = after
        raise UserError(
            f"no stable size for an image of {width}x{height} pixels with min_pixels={self.min_pixels} and "
            f"max_pixels={self.max_pixels}; widen that range"
        )

    def contains(self, height: int, width: int) -> bool:
        """Whether an image of this size passes the stock processor without being resized."""
        if height < 1 or width < 1 or max(height, width) / min(height, width) > MAX_ASPECT_RATIO:
            return False
        return self.size(height, width) == (height, width)

    def tokens(self, height: int, width: int) -> int:
        """Visual tokens (after merging) of an image of this size, on the grid or not."""
        h, w = self.fixed_size(height, width)
        return (h // self.factor) * (w // self.factor)

    def render(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """(H, W, 3) -> (h, w, 3) on the grid: one bicubic resize in 8 bit; a copy where the image is on it already."""
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"render takes uint8 (H, W, 3), not {pixels.dtype} {pixels.shape}")
        height, width = self.fixed_size(pixels.shape[0], pixels.shape[1])
        if (height, width) == pixels.shape[:2]:
            return pixels.copy()
        resized = Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), Image.Resampling.BICUBIC)
        return np.array(resized)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for run.json; `from_processor_config` reads them back."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_processor_config(cls, config: Mapping[str, Any]) -> "Grid":
        """Read preprocessor_config.json of Qwen2-VL, Qwen2.5-VL or Qwen3-VL; what it leaves out has the stock default.

        Raises UserError where the configuration asks for other steps than resize, / 255 and normalise.
        """
        for step in ("do_resize", "do_rescale", "do_normalize"):
            if not config.get(step, True):
                raise UserError(f"the processor has {step} off; only the stock steps of the Qwen-VL family are known")
        if abs(config.get("rescale_factor", 1 / 255) - 1 / 255) > 1e-9:
            raise UserError(f"the processor rescales by {config['rescale_factor']}; only 1/255 is known")
        if config.get("resample", Image.Resampling.BICUBIC) != Image.Resampling.BICUBIC:
            raise UserError(f"the processor resamples with filter {config['resample']}; only 3 (bicubic) is known")
        size: Mapping[str, Any] = config.get("size") or {}
        # As in the stock processor: top-level min_pixels and max_pixels win over `size`.
        smallest = config.get("min_pixels") or size.get("shortest_edge") or size.get("min_pixels") or cls.min_pixels
        largest = config.get("max_pixels") or size.get("longest_edge") or size.get("max_pixels") or cls.max_pixels
        try:
            return cls(
                patch_size=int(config.get("patch_size", cls.patch_size)),
                merge_size=int(config.get("merge_size", cls.merge_size)),
                temporal_patch_size=int(config.get("temporal_patch_size", cls.temporal_patch_size)),
                min_pixels=int(smallest),
                max_pixels=int(largest),
                image_mean=_triple(config.get("image_mean", cls.image_mean)),
                image_std=_triple(config.get("image_std", cls.image_std)),
            )
        except (TypeError, ValueError) as error:
            raise UserError(f"the processor configuration is not of the Qwen-VL family: {error}") from error


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(v) for v in values)
    return red, green, blue
