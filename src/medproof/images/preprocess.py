"""Differentiable preprocessing in plain torch, equal to the stock PIL processor of the Qwen-VL family.

On an image that is on the grid it is affine + permutation, and equal bit for bit in float32. Where it must resize it
repeats the fixed-point arithmetic of PIL's separable bicubic filter, with straight-through gradients.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from medproof.images.grid import Grid

_PRECISION_BITS = 22  # of PIL's fixed-point filter coefficients for 8-bit images
_SUPPORT = 2.0  # of the bicubic kernel, in pixels
_PROBES = 16  # draws of noise until the order of the passes shows; one is enough but for tiny images


def to_float(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 (H, W, 3) -> float32 (3, H, W) in [0, 1]."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"to_float takes uint8 (H, W, 3), not {pixels.dtype} {pixels.shape}")
    channels_first = np.array(pixels.transpose(2, 0, 1), order="C", dtype=np.float32)
    return torch.from_numpy(channels_first) / 255


def to_uint8(image: Tensor) -> npt.NDArray[np.uint8]:
    """(3, H, W) in [0, 1] -> uint8 (H, W, 3), rounded to the nearest grey level and clamped. Inverse of `to_float`."""
    _check_image(image)
    levels = (image.detach().double() * 255).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(levels.cpu().numpy().transpose(1, 2, 0))


def patchify(images: Sequence[Tensor], grid: Grid) -> tuple[Tensor, Tensor]:
    """Normalise and cut into patches.

    images: (3, H, W) in [0, 1], float32 or float64, each of a size that `grid` contains (sizes may differ).
    Returns pixel_values (sum of patches, 3 * T * p * p), in the dtype of the images and differentiable in them, and
    grid_thw (N, 3) int64. The T temporal copies are views of the same pixels. Raises ValueError off the grid.
    """
    if not images:
        raise ValueError("patchify needs at least one image")
    for image in images:
        _check_image(image)
    rows = [_patches(image, grid) for image in images]
    sizes = [[1, image.shape[1] // grid.patch_size, image.shape[2] // grid.patch_size] for image in images]
    return torch.cat(rows), torch.tensor(sizes, dtype=torch.int64, device=images[0].device)


def patchify_copies(copies: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """`patchify` for many images of one size, (N, 3, H, W), whose values may lie outside [0, 1]. The same numbers."""
    count, _, height, width = copies.shape
    _check_image(copies[0])
    size = [1, height // grid.patch_size, width // grid.patch_size]
    return _patches(copies, grid), torch.tensor([size] * count, dtype=torch.int64, device=copies.device)


def preprocess(images: Sequence[Tensor], grid: Grid) -> tuple[Tensor, Tensor]:
    """`patchify` for images of any shape: those off the grid are resized as `Grid.render` would, differentiably."""
    on_grid = [resize(image, grid.fixed_size(image.shape[1], image.shape[2])) for image in images]
    return patchify(on_grid, grid)


def resize(image: Tensor, size: tuple[int, int], rounding: bool = True) -> Tensor:
    """PIL-compatible bicubic resize of (3, H, W) in [0, 1] to (3, *size); returned unchanged if it has that size.

    As PIL does on 8-bit images: a = -0.5, support widened when shrinking (antialiasing), horizontal pass then vertical
    pass (or the reverse, where PIL does so), 22-bit coefficients, clamp and round to 8 bit after each. The image itself
    is read as the 8-bit file it would be saved to. The gradient passes straight through every round and clamp.
    `rounding=False` leaves round and clamp out: a linear map, for gradient checks.
    """
    _check_image(image)
    height, width = image.shape[1:]
    if (height, width) == tuple(size):
        return image
    # float64 holds every product and sum of the integer arithmetic exactly.
    levels = _to_levels(image.double() * 255, rounding)
    for axis in _pass_order(height, width, size):
        if levels.shape[axis] != size[axis - 1]:
            matrix = torch.from_numpy(bicubic_matrix(levels.shape[axis], size[axis - 1])).to(image.device)
            levels = levels @ matrix.T if axis == 2 else matrix @ levels
            levels = _to_levels(levels, rounding)
    return levels.to(image.dtype) / 255


def _patches(image: Tensor, grid: Grid) -> Tensor:
    """(..., 3, H, W) -> (patches of all, 3 * T * p * p), in the order of the merger: cell by cell of merge x merge."""
    channels, height, width = image.shape[-3:]
    if not grid.contains(height, width):
        raise ValueError(f"an image of {width}x{height} pixels is not on the grid; use Grid.render or preprocess")
    mean = torch.tensor(grid.image_mean, dtype=image.dtype, device=image.device)[:, None, None]
    std = torch.tensor(grid.image_std, dtype=image.dtype, device=image.device)[:, None, None]
    normalised = (image - mean) / std
    p, m, t = grid.patch_size, grid.merge_size, grid.temporal_patch_size
    cells = normalised.reshape(-1, channels, height // (p * m), m, p, width // (p * m), m, p)
    patches = cells.permute(0, 2, 5, 3, 6, 1, 4, 7)  # (image, cell row, cell column, m, m, C, p, p)
    copies = patches.unsqueeze(6).expand(*patches.shape[:6], t, p, p)
    return copies.reshape(-1, channels * t * p * p)


def _check_image(image: Tensor) -> None:
    if image.ndim != 3 or image.shape[0] != 3 or not image.is_floating_point():
        raise ValueError(f"an image is a floating-point (3, H, W) tensor, not {image.dtype} {tuple(image.shape)}")


def _to_levels(levels: Tensor, rounding: bool) -> Tensor:
    """Round half up to integers in 0..255; the gradient is the identity."""
    if not rounding:
        return levels
    rounded = (levels.detach() + 0.5).floor().clamp(0, 255)
    # x - x is exactly zero, so the value is exactly `rounded`; x + (rounded - x) need not be.
    return rounded + (levels - levels.detach())


@functools.lru_cache(maxsize=256)
def _pass_order(height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """Axes of (3, H, W) in the order in which the installed PIL filters them for these sizes.

    Horizontal then vertical for most; some Pillow versions (12.2, 13.0) turn the order round where the height shrinks
    most, each by a rule of its own. As the intermediate is rounded this shows, so PIL itself is asked, on noise.
    """
    if height == size[0] or width == size[1]:
        return 2, 1
    rng = np.random.Generator(np.random.PCG64(0))
    for _ in range(_PROBES):
        noise = Image.fromarray(rng.integers(0, 2, (height, width), dtype=np.uint8) * np.uint8(255))
        both = _filtered(noise, size)
        horizontal_first = _filtered(_filtered(noise, (height, size[1])), size)
        vertical_first = _filtered(_filtered(noise, (size[0], width)), size)
        if horizontal_first.tobytes() != vertical_first.tobytes():
            return (2, 1) if both.tobytes() == horizontal_first.tobytes() else (1, 2)
    return 2, 1


def _filtered(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize((size[1], size[0]), Image.Resampling.BICUBIC)


@functools.lru_cache(maxsize=64)
def bicubic_matrix(length: int, out: int) -> npt.NDArray[np.float64]:
    """(out, length) filter of one pass; entries are multiples of 2**-22, as in PIL's fixed-point coefficients."""
    scale = length / out
    stretch = max(scale, 1.0)
    support = _SUPPORT * stretch
    matrix = np.zeros((out, length))
    for row in range(out):
        centre = (row + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), length)
        weights = [_bicubic((column - centre + 0.5) * (1.0 / stretch)) for column in range(first, last)]
        total = sum(weights)
        matrix[row, first:last] = [_fixed_point(weight * (1.0 / total)) for weight in weights]
    return matrix


def _bicubic(x: float) -> float:
    """Keys' cubic convolution kernel with a = -0.5 (Keys 1981, equation 15)."""
    x = abs(x)
    if x < 1.0:
        return (1.5 * x - 2.5) * x * x + 1.0
    return ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0 if x < 2.0 else 0.0


def _fixed_point(weight: float) -> float:
    unit = 1 << _PRECISION_BITS
    return math.copysign(math.floor(abs(weight) * unit + 0.5), weight) / unit
