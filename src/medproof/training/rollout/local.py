"""Rollouts from the network in training itself: no second copy of the weights, no second implementation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from medproof.images.grid import Grid
from medproof.models.chat import Chat
from medproof.models.sampling import uniforms
from medproof.models.special_ids import end_ids, pad_id, vision_ids
from medproof.seeds import derive_seed
from medproof.training.groups import Group, Images, Prompt
from medproof.training.rollout.decode import Decoder
from medproof.training.rollout.engine import Sampling, make_completion
from medproof.training.rollout.prefill import Encoded, encode, prefill
from medproof.training.rollout.weights import bare, copy_weights


class LocalEngine:
    """Samples from `net`: a Qwen-VL network, plain or with a PEFT adapter.

    max_rows: completions decoded at once, to bound memory (at least one group); the result does not depend on it.
    compile_decode: on a CUDA device, replay the decoding step as a CUDA graph. autocast: compute in this dtype where
    the weights are held in float32.

    Under FSDP give a copy of the network made before it was sharded, and call `sync` before each rollout: decoding
    then needs no communication, and processes may decode for different numbers of steps.
    """

    def __init__(
        self,
        net: Any,
        chat: Chat,
        grid: Grid,
        *,
        max_rows: int = 256,
        compile_decode: bool = True,
        autocast: torch.dtype | None = None,
    ) -> None:
        self._net = bare(net)
        self._chat = chat
        self._grid = grid
        self._max_rows = max_rows
        self._compile = compile_decode
        self._autocast = autocast

    @torch.no_grad()
    def generate(self, prompts: Sequence[Prompt], images: Images, sampling: Sampling) -> list[Group]:
        """See `Engine`. One vision encode per distinct image, one prefilled row per prompt.

        Raises FloatingPointError where the logits of a row are not finite.
        """
        if not prompts:
            return []
        device = self._net.device
        at_once = max(1, self._max_rows // sampling.num_generations)
        mixed = torch.autocast(device.type, dtype=self._autocast, enabled=self._autocast is not None)
        groups: list[Group] = []
        with evaluating(self._net), mixed:
            encoded = encode(self._net, images, self._grid)
            for start in range(0, len(prompts), at_once):
                part = slice(start, start + at_once)
                groups += self._groups(prompts[part], encoded, images.of[part], sampling)
        return groups

    def sync(self, net: Any) -> None:
        """Nothing to do for the engine's own network; from another one the weights are copied, sharded ones gathered.

        Raises ValueError where the two do not have the same parameters.
        """
        copy_weights(net, self._net)

    def _groups(
        self, prompts: Sequence[Prompt], encoded: Encoded, image_of: Sequence[int], sampling: Sampling
    ) -> list[Group]:
        net, chat = self._net, self._chat
        ends, pad = end_ids(net, chat.tokenizer), pad_id(chat.tokenizer)
        count = sampling.num_generations
        seeds = [derive_seed(prompt.seed, str(g), "sample") for prompt in prompts for g in range(count)]
        prefix = prefill(net, encoded, prompts, image_of, chat.image_token_id, pad)
        uniform = uniforms(seeds, sampling.max_completion_length)
        decoder = Decoder(net, prefix, uniform, sampling, ends, vision_ids(net), pad)
        ids = decoder.run(graph=self._compile and net.device.type == "cuda").tolist()
        completions = [make_completion(row, ends, chat) for row in ids]
        return [Group(p, tuple(completions[i * count : (i + 1) * count])) for i, p in enumerate(prompts)]


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Every module in eval mode inside (no dropout, no gradient checkpointing), each back in its own mode after."""
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
