"""The decoding loop: one token per row and step, in tensors of fixed shape, without looking at them on the host."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

from medproof.models.sampling import draw
from medproof.training.rollout.cache import GroupCache, shared_prefix_attention
from medproof.training.rollout.engine import Sampling
from medproof.training.rollout.prefill import Prefix

log = logging.getLogger(__name__)

_LOOK_EVERY = 8  # steps between two looks at whether all rows have ended, on a GPU: each look waits for the device
_WARM_UP = 2  # steps before a CUDA graph is captured: libraries allocate their workspaces then


class Decoder:
    """Decodes P prompts x G rows; rows are ordered prompt by prompt.

    uniform [P * G, L] float64: the random number of every token. pad_id fills rows behind their end. The layers of the
    text decoder are called one by one with positions made beforehand; of the model's own forward pass only the
    embedding, the final norm and the head are left.
    """

    def __init__(
        self,
        net: Any,
        prefix: Prefix,
        uniform: torch.Tensor,
        sampling: Sampling,
        end_ids: Sequence[int],
        banned_ids: Sequence[int],
        pad_id: int,
    ) -> None:
        device = prefix.mask.device
        rows, length = uniform.shape
        self._head, self._text, self._sampling, self._pad_id = net.lm_head, net.model.language_model, sampling, pad_id
        self._end_ids, self._banned_ids = (torch.tensor(list(ids), device=device) for ids in (end_ids, banned_ids))
        self._cache = GroupCache(prefix, rows // len(prefix.position), length)
        self._uniform = uniform.to(device)
        self._tokens = torch.full((rows,), pad_id, device=device)
        self._rotary = self._rotate(prefix.position.repeat_interleave(self._cache.shape[1]), length)
        self._ended = torch.zeros(rows, dtype=torch.bool, device=device)
        self._finite = torch.ones(rows, dtype=torch.bool, device=device)
        self._written = torch.full((rows, length), pad_id, device=device)
        self._rows = torch.arange(rows, device=device)
        self._result = self._written.clone()
        self._broken = torch.zeros(rows, dtype=torch.bool, device=device)
        self._accept(prefix.logits.repeat_interleave(self._cache.shape[1], 0))

    def run(self, graph: bool) -> torch.Tensor:
        """(P * G, L) token ids, padded behind the end of each row. `graph`: replay the step as a CUDA graph.

        Raises FloatingPointError where the logits of a row are not finite.
        """
        length = self._written.shape[1]
        look_every = 1 if self._written.device.type == "cpu" else _LOOK_EVERY
        step: Callable[[], None] = self._step
        with shared_prefix_attention(self._text):
            for done in range(1, length):
                if done % look_every == 0:
                    if bool(self._ended.all()):
                        break
                    if not graph:
                        self._drop_ended()
                if not graph:
                    self._cache.visible = done
                elif done == _WARM_UP + 1:
                    step = self._captured()
                step()
        self._store()
        if bool(self._broken.any()):
            raise FloatingPointError(f"logits of {int(self._broken.sum())} of {len(self._broken)} rows are not finite")
        return self._result

    def _step(self) -> None:
        """The token at `slot` goes in, the next one comes out."""
        slot = self._cache.slot
        hidden = self._text.embed_tokens(self._tokens[:, None])  # [rows, 1, hidden]
        position = tuple(table.index_select(1, slot) for table in self._rotary)
        for layer in self._text.layers:
            hidden = layer(
                hidden,
                attention_mask=None,
                position_embeddings=position,
                past_key_values=self._cache,
                group_cache=self._cache,
            )
        slot.add_(1)
        self._accept(self._head(self._text.norm(hidden))[:, 0])

    def _accept(self, logits: torch.Tensor) -> None:
        """Draw a token per row from [rows, V] and write it at `slot`; all state changes in place."""
        slot, sampling = self._cache.slot, self._sampling
        logits = logits.float().index_fill(1, self._banned_ids, float("-inf"))
        self._finite &= logits.amax(-1).isfinite() | self._ended
        uniform = self._uniform.index_select(1, slot).squeeze(1)
        tokens = draw(logits, uniform, sampling.temperature, sampling.top_p, sampling.top_k)
        self._tokens.copy_(tokens.masked_fill(self._ended, self._pad_id))
        self._written.index_copy_(1, slot, self._tokens[:, None])
        self._ended |= (self._tokens[:, None] == self._end_ids).any(-1)

    def _rotate(self, first: torch.Tensor, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines [rows, L, D] of every position a row can reach; text advances all three axes alike."""
        place = first[:, None] + torch.arange(length, device=first.device)
        cos, sin = self._text.rotary_emb(self._text.embed_tokens(self._tokens), place.expand(3, -1, -1))
        return cos, sin

    def _drop_ended(self) -> None:
        """Go on with the smallest grid of prompts x rows that holds all living rows, if it is at most half as large."""
        prompts, generations = self._cache.shape
        alive = ~self._ended.view(prompts, generations)
        counts = alive.sum(-1)
        kept = counts.nonzero().squeeze(-1)
        width = int(counts.max())
        if 2 * len(kept) * width > prompts * generations:
            return
        self._store()
        places = alive[kept].int().argsort(dim=-1, descending=True, stable=True)[:, :width]  # [P', G']
        rows = (kept[:, None] * generations + places).flatten()
        self._cache.select(kept, places)
        self._uniform, self._tokens, self._ended, self._finite, self._written, self._rows = (
            state[rows] for state in (self._uniform, self._tokens, self._ended, self._finite, self._written, self._rows)
        )
        self._rotary = (self._rotary[0][rows], self._rotary[1][rows])

    def _store(self) -> None:
        self._result[self._rows] = self._written
        self._broken[self._rows] = ~self._finite

    def _captured(self) -> Callable[[], None]:
        """The step as one CUDA graph; where capture fails, the plain step, with the reason logged."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._step()
        except RuntimeError as error:
            log.warning("decoding without a CUDA graph: %s", str(error).splitlines()[0])
            return self._step
        return graph.replay
