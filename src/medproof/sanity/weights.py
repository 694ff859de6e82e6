"""The same network for a while with other weights: noisy ones, or in another precision."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from medproof.seeds import derive_seed

NOISE = 0.05
"""Standard deviation of the surrogate's noise, in units of the root mean square of each tensor."""


@contextmanager
def noisy(net: nn.Module, seed: int, scale: float = NOISE) -> Iterator[None]:
    """Inside, every parameter carries Gaussian noise of `scale` times its own root mean square, drawn on the CPU."""

    def change(name: str, weights: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(derive_seed(seed, name, "surrogate"))
        noise = torch.randn(weights.shape, generator=generator).to(weights.device)
        size = weights.float().square().mean().sqrt()
        return (weights.float() + scale * size * noise).to(weights.dtype)

    with _replaced(net, change):
        yield


@contextmanager
def in_precision(net: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Inside, floating-point parameters are of `dtype`. Buffers stay: they are of high precision on purpose."""

    def change(_: str, weights: torch.Tensor) -> torch.Tensor:
        return weights.to(dtype) if weights.is_floating_point() else weights

    with _replaced(net, change):
        yield


@contextmanager
def _replaced(net: nn.Module, change: Callable[[str, torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """The old tensors are kept, not recomputed: on the way out the weights are what they were, bit for bit."""
    old = {name: parameter.data for name, parameter in net.named_parameters()}
    try:
        for name, parameter in net.named_parameters():
            parameter.data = change(name, parameter.data)
        yield
    finally:
        for name, parameter in net.named_parameters():
            parameter.data = old[name]
