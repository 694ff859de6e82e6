"""The inner maximisation of adversarial training (Madry et al. 2018, arXiv:1706.06083): PGD for a batch of images.

Cheaper than the attacks that judge a model: no image is evaluated that no gradient is taken of, the iterates are float,
and only the last one is rounded to 8 bits. Weights are frozen meanwhile: `torch.autograd.grad` goes to the pixels only,
through the unwrapped network, so that data-parallel wrappers see nothing of it and no communication is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from medproof.attacks.ascent import Bucket, Mover, buckets_of
from medproof.attacks.step_rules import STEP_RULES, Scheduled, StepRule
from medproof.attacks.threat import ThreatModel
from medproof.errors import UserError
from medproof.images.grid import Grid
from medproof.images.preprocess import patchify
from medproof.models.chat import Chat
from medproof.models.special_ids import pad_id
from medproof.training.attack_objectives import Objective
from medproof.training.groups import Images
from medproof.training.prefix_rows import GroupBatch, collate_groups
from medproof.training.rollout.local import evaluating
from medproof.training.rollout.weights import bare


@dataclass(frozen=True)
class Found:
    """images: the 8-bit images (3, H, W) in [0, 1], on the CPU. flat: whether every gradient of it was exactly zero."""

    images: list[torch.Tensor]
    flat: list[bool]


class InnerAttack:
    """Attacks images of `net`, a Qwen-VL network, plain or with a PEFT adapter, but not sharded.

    at_once: images in one pass, to bound memory; the result for an image does not depend on the others beyond the
    arithmetic of the network. autocast: compute in this dtype.
    """

    def __init__(
        self, net: Any, chat: Chat, grid: Grid, *, at_once: int = 32, autocast: torch.dtype | None = None
    ) -> None:
        """Raises UserError where activations are checkpointed in the reentrant way, which knows no autograd.grad."""
        check_checkpointing(net)
        self.net = bare(net)
        self.chat, self.grid = chat, grid
        self._at_once, self._autocast = at_once, autocast

    def __call__(
        self,
        objective: Callable[[slice], Objective],
        clean: Sequence[torch.Tensor],
        starts: Sequence[torch.Tensor],
        threat: ThreatModel,
        mover: Callable[[], Mover],
        steps: int,
    ) -> Found:
        """For each image one in its ball that raises the objective.

        objective: of the images in a slice of the batch. clean: 8-bit (3, H, W) in [0, 1]. starts: float images of the
        same shapes, in the ball. mover: a step rule for one bucket of images.
        Raises UserError for a network whose loss does not depend on the pixels differentiably.
        """
        found = Found([], [])
        device = self.net.device
        mixed = torch.autocast(device.type, dtype=self._autocast, enabled=self._autocast is not None)
        with evaluating(self.net), frozen(self.net), mixed:
            for start in range(0, len(clean), self._at_once):
                part = slice(start, start + self._at_once)
                pixels = [image.to(device) for image in clean[part]]
                begin = {i: image.to(device) for i, image in enumerate(starts[part])}
                images, flat = self._ascend(objective(part), pixels, begin, threat, mover, steps)
                found.images.extend(image.cpu() for image in images)
                found.flat.extend(flat)
        return found

    def _ascend(
        self,
        objective: Objective,
        clean: list[torch.Tensor],
        begin: dict[int, torch.Tensor],
        threat: ThreatModel,
        mover: Callable[[], Mover],
        steps: int,
    ) -> tuple[list[torch.Tensor], list[bool]]:
        buckets = buckets_of(clean, range(len(clean)), begin)
        rules = [mover() for _ in buckets]
        rows = self._rows(objective, clean)
        with torch.no_grad():
            objective.prepare(self.net, rows)
        flat = [torch.ones(len(bucket.indices), dtype=torch.bool, device=self.net.device) for bucket in buckets]
        for step in range(steps):
            losses, gradients = self._gradients(objective, rows, buckets)
            for place, (bucket, rule, gradient) in enumerate(zip(buckets, rules, gradients, strict=True)):
                flat[place] &= (gradient == 0).flatten(1).all(1)
                bucket.iterate = rule.move(bucket, gradient, losses[bucket.indices], step)
        images, zero = list(clean), [True] * len(clean)
        for bucket, still in zip(buckets, flat, strict=True):
            for i, image, no in zip(bucket.indices, threat.finish(bucket.iterate, bucket.clean), still.tolist()):
                images[i], zero[i] = image, no
        return images, zero

    def _rows(self, objective: Objective, clean: list[torch.Tensor]) -> GroupBatch:
        images = Images(tuple(clean), tuple(range(len(clean))))
        pad = pad_id(self.chat.tokenizer)
        return collate_groups(self.chat, self.grid, objective.groups, images, pad, objective.layout).to(self.net.device)

    def _gradients(
        self, objective: Objective, rows: GroupBatch, buckets: Sequence[Bucket]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """([B] losses, per bucket [b, 3, H, W]) at the iterates."""
        leaves = [bucket.iterate.detach().requires_grad_() for bucket in buckets]
        shown = {i: row for bucket, leaf in zip(buckets, leaves) for i, row in zip(bucket.indices, leaf.unbind(0))}
        with torch.enable_grad():
            pixel_values, _ = patchify([shown[i] for i in range(len(shown))], self.grid)
            losses = objective(self.net, replace(rows, pixel_values=pixel_values))
            found: Sequence[torch.Tensor | None] = [None]
            if losses.requires_grad:
                found = torch.autograd.grad(losses.sum(), leaves, allow_unused=True)
        gradients = [gradient.float() for gradient in found if gradient is not None]
        if len(gradients) < len(leaves):
            raise UserError(
                f"the loss of model {self.chat.name} has no gradient in the pixels: adversarial training needs a model "
                "that is differentiable from its image on; take the adversarial section out"
            )
        return losses.detach().float(), gradients


def step_rule(threat: ThreatModel, rule: StepRule, steps: int, step_size: float | None = None) -> Callable[[], Mover]:
    """A rule of `attacks.step_rules` for each bucket; step_size: in eps, for `constant` and `momentum`."""
    if step_size is None:
        return functools.partial(STEP_RULES[rule], threat, steps)
    decay = 1.0 if rule == "momentum" else 0.0
    return functools.partial(Scheduled, threat, steps, functools.partial(_fixed, step_size), decay)


def _fixed(step_size: float, eps: float, step: int, steps: int) -> float:
    return step_size * eps


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """Inside, no parameter requires a gradient; those that did, do so again after."""
    trained = [weight for weight in net.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:
            weight.requires_grad_(True)


def check_checkpointing(net: nn.Module) -> None:
    """Raises UserError where transformers checkpoints activations in the reentrant way."""
    for module in net.modules():
        function = getattr(module, "_gradient_checkpointing_func", None)
        if isinstance(function, functools.partial) and function.keywords.get("use_reentrant", True):
            raise UserError(
                "reentrant gradient checkpointing gives images no gradient: switch it on by the recipe's "
                "model.gradient_checkpointing, which is not reentrant"
            )
