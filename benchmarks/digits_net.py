"""The network of `attack_parity.py`. Needs torch and safetensors alone: a peer's own environment loads it too."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


class DigitsNet(nn.Module):
    """[B, 1, 16, 16] in [0, 1] -> [B, 10] logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 16, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images - 0.5)
        return logits


def save(net: DigitsNet, path: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, path)


def load(path: Path) -> DigitsNet:
    """The network for inference: weights frozen."""
    net = DigitsNet()
    net.load_state_dict(load_file(path))
    return net.eval().requires_grad_(False)


def predictions(net: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        classes: Tensor = net(images).argmax(1)
    return classes
