"""Data and training for `attack_parity.py`: scikit-learn's digits at 16 x 16 in 8 bit, an adversarially trained CNN."""

from __future__ import annotations

import torch
from digits_net import DigitsNet
from torch import Tensor
from torch.nn import functional

TEST = 397
EPOCHS = 12
INNER_STEPS = 5


def digits(seed: int = 0) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(images, labels) to train on and, 397 of them, to test on; images [N, 1, 16, 16] are n/255."""
    from sklearn.datasets import load_digits

    data = load_digits()
    small = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    large = functional.interpolate(small, size=(16, 16), mode="bilinear", align_corners=False)
    images, labels = (large * 255).round().clamp(0, 255) / 255, torch.tensor(data.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    train, test = order[TEST:], order[:TEST]
    return (images[train], labels[train]), (images[test], labels[test])


def train(images: Tensor, labels: Tensor, eps: float, *, seed: int = 0, epochs: int = EPOCHS) -> DigitsNet:
    """Half clean loss, half loss on PGD images (Madry et al. 2018). Weights come back frozen."""
    torch.manual_seed(seed)
    net = DigitsNet()
    batches = epochs * (len(labels) // 100)
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=batches)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels))[: len(labels) // 100 * 100].split(100):
            attacked = _pgd(net, images[rows], labels[rows], eps)
            both = net(torch.cat([images[rows], attacked]))
            loss = functional.cross_entropy(both, labels[rows].repeat(2))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval().requires_grad_(False)


def _pgd(net: DigitsNet, clean: Tensor, labels: Tensor, eps: float) -> Tensor:
    images = (clean + torch.empty_like(clean).uniform_(-eps, eps)).clamp(0, 1)
    for _ in range(INNER_STEPS):
        images.requires_grad_()
        (gradient,) = torch.autograd.grad(functional.cross_entropy(net(images), labels), images)
        moved = images.detach() + 2.5 * eps / INNER_STEPS * gradient.sign()
        images = torch.minimum(torch.maximum(moved, clean - eps), clean + eps).clamp(0, 1)
    return images.detach()
