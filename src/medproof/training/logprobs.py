"""Per-token log-probabilities of completions, differentiable in the weights and in the pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from medproof.errors import UserError
from medproof.models.encode_once import encode_once
from medproof.training.prefix_rows import GroupBatch, block_mask, row_positions
from medproof.training.rollout.weights import bare


class TokenLogprobs(NamedTuple):
    """logps, entropy: [B, G, L] (float32, 0 off mask); mask: [B, G, L] bool. entropy carries no gradient. divergence:
    [twins, G, L], of the first rows.

    A tuple, so that FSDP finds the tensors in it.
    """

    logps: torch.Tensor
    mask: torch.Tensor
    entropy: torch.Tensor | None
    divergence: torch.Tensor | None = None


class GroupLogprobs(nn.Module):
    """The net with the log-probabilities as its forward pass, so that data-parallel wrappers see one module.

    net: Qwen-VL, plain or a PeftModel. suppressed: ids that could not be sampled, so that the log-probabilities are
    those of the distribution that was sampled from; a completion must not hold them. chunk: positions that pass the
    head at once.
    """

    def __init__(self, net: Any, suppressed: Sequence[int] = (), chunk: int = 512) -> None:
        super().__init__()
        self.net = net
        self._no_split_modules = bare(net)._no_split_modules  # FSDP shards layer by layer
        self.suppressed = tuple(suppressed)
        self.chunk = chunk

    def forward(
        self, batch: GroupBatch, temperature: float = 1.0, entropy: bool = False, twins: int = 0, clean: int = 1
    ) -> TokenLogprobs:
        """One pass: each distinct image encoded once, the head on completion tokens only.

        twins: the last so many rows hold the completions of the first so many under another image; `divergence` is then
        KL(clean || attacked) between the two. clean: which of both sees the clean image, 0 the first rows, 1 the last.
        """
        net = bare(self.net)
        states = completion_states(net, batch)
        logps, spread = token_logprobs(
            states,
            net.lm_head,
            batch.targets,
            temperature=temperature,
            suppressed=self.suppressed,
            chunk=self.chunk,
            entropy=entropy,
        )
        zeros = torch.zeros(batch.mask.shape, dtype=logps.dtype, device=logps.device)
        return TokenLogprobs(
            zeros.masked_scatter(batch.mask, logps),
            batch.mask,
            None if spread is None else zeros.masked_scatter(batch.mask, spread),
            self._divergence(net, states, batch, temperature, twins, clean) if twins else None,
        )

    def _divergence(
        self, net: Any, states: torch.Tensor, batch: GroupBatch, temperature: float, twins: int, clean: int
    ) -> torch.Tensor:
        """[twins, G, L], 0 off the mask."""
        mask = batch.mask[:twins]
        count = int(mask.sum())
        pair = (states[:count], states[len(states) - count :])
        values = token_divergence(
            pair[clean], pair[1 - clean], net.lm_head, temperature, self.suppressed, chunk=self.chunk
        )
        return torch.zeros(mask.shape, dtype=values.dtype, device=values.device).masked_scatter(mask, values)


def completion_states(net: Any, batch: GroupBatch) -> torch.Tensor:
    """[N, D] last hidden states that predict the completions' tokens, in the order of the mask.

    net: unwrapped. Shared rows need a mask that flash attention does not take: its text layers then go over to SDPA,
    for good, because gradient checkpointing runs them again in backward.
    """
    with encode_once(net, batch.grid_thw, batch.rows.image_rows):
        hidden: torch.Tensor = net.model(
            input_ids=batch.rows.input_ids,
            attention_mask=_attention_mask(net, batch),
            position_ids=row_positions(net, batch),
            mm_token_type_ids=batch.rows.token_types,
            pixel_values=batch.pixel_values,
            image_grid_thw=batch.grid_thw[list(batch.rows.image_rows)],
            use_cache=False,
        ).last_hidden_state
    return hidden.flatten(0, 1)[batch.sources]


def token_logprobs(
    hidden: torch.Tensor,
    head: nn.Module,
    targets: torch.Tensor,
    *,
    temperature: float = 1.0,
    suppressed: Sequence[int] = (),
    chunk: int = 512,
    entropy: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """hidden [N, D], targets [N] -> log-probabilities [N] and entropies [N] or None, in float32 (float64 stays).

    Of softmax(head(hidden) / temperature) without the `suppressed` ids; a suppressed target has -inf. At most
    [chunk, V] logits exist at once, and none are kept for the backward pass, which computes them anew.
    """
    banned = torch.tensor(suppressed, dtype=torch.long, device=hidden.device)
    parts = [
        checkpoint(_chunk_logprobs, states, head, ids, temperature, banned, entropy, use_reentrant=False)
        for states, ids in zip(torch.split(hidden, chunk), torch.split(targets, chunk), strict=True)
    ]
    return torch.cat([logps for logps, _ in parts]), torch.cat([spread for _, spread in parts]) if entropy else None


def token_divergence(
    states: torch.Tensor,
    others: torch.Tensor,
    head: nn.Module,
    temperature: float = 1.0,
    suppressed: Sequence[int] = (),
    *,
    chunk: int = 512,
) -> torch.Tensor:
    """[N] KL(p || q) in float32, p and q the distributions of hidden `states` and `others`, both [N, D].

    Over the whole vocabulary but the `suppressed` ids; memory as in `token_logprobs`.
    """
    banned = torch.tensor(suppressed, dtype=torch.long, device=states.device)
    parts = [
        checkpoint(_chunk_divergence, p, q, head, temperature, banned, use_reentrant=False)
        for p, q in zip(torch.split(states, chunk), torch.split(others, chunk), strict=True)
    ]
    return torch.cat(parts)


def reference_logprobs(
    module: nn.Module, batch: GroupBatch, reference: nn.Module | None = None, temperature: float = 1.0
) -> torch.Tensor:
    """[B, G, L] without gradient, by the frozen `reference` (a GroupLogprobs) or by `module` without its adapter.

    Nothing of either module's state changes. Raises ValueError where there is neither.
    """
    with torch.no_grad(), nullcontext() if reference is not None else _adapter_off(module):
        logps: torch.Tensor = (module if reference is None else reference)(batch, temperature).logps
    return logps


def _chunk_logprobs(
    states: torch.Tensor, head: nn.Module, ids: torch.Tensor, temperature: float, banned: torch.Tensor, entropy: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """states [C, D], ids [C] -> ([C], [C] or None)."""
    logits = _chunk_logits(states, head, temperature, banned)
    logps = logits.gather(-1, ids[:, None]).squeeze(-1) - logits.logsumexp(-1)
    if not entropy:
        return logps, None
    with torch.no_grad():
        return logps, torch.special.entr(logits.softmax(-1)).sum(-1)


def _chunk_divergence(
    states: torch.Tensor, others: torch.Tensor, head: nn.Module, temperature: float, banned: torch.Tensor
) -> torch.Tensor:
    """states, others [C, D] -> [C]."""
    p, q = (_chunk_logits(each, head, temperature, banned).log_softmax(-1) for each in (states, others))
    # Banned ids have probability 0 in both: inf - inf is not a number, and 0 times it neither.
    gap = (p - q).masked_fill(p == -torch.inf, 0.0)
    return (p.exp() * gap).sum(-1)


def _chunk_logits(states: torch.Tensor, head: nn.Module, temperature: float, banned: torch.Tensor) -> torch.Tensor:
    """[C, D] -> [C, V], float32 at least, -inf for banned ids."""
    logits: torch.Tensor = head(states)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    return logits.index_fill(-1, banned, -torch.inf) if len(banned) else logits


def _attention_mask(net: Any, batch: GroupBatch) -> torch.Tensor:
    """Of shared rows [R, 1, T, T]: bool for SDPA, added to the scores for eager attention; of repeated rows [R, T]."""
    if batch.layout == "repeated":
        return batch.rows.attention_mask
    text = net.model.language_model
    if getattr(text, "has_sliding_layers", False):
        raise UserError("this model's sliding-window layers cannot read shared rows: use the repeated layout")
    seen = block_mask(batch.segments)
    if text.config._attn_implementation != "eager":
        text.config._attn_implementation = "sdpa"
        return seen
    return torch.zeros(seen.shape, device=seen.device).masked_fill(~seen, torch.finfo(torch.float32).min)


@contextmanager
def _adapter_off(module: nn.Module) -> Iterator[None]:
    """Inside, the PEFT adapter in `module` is switched off. PEFT would leave its weights trainable; they stay as is."""
    from peft import PeftModel

    adapted = next((inner for inner in module.modules() if isinstance(inner, PeftModel)), None)
    if adapted is None:
        raise ValueError("reference log-probabilities need a frozen copy of the model, or an adapter to switch off")
    trainable = [(weight, weight.requires_grad) for weight in adapted.parameters()]
    try:
        with adapted.disable_adapter():
            yield
    finally:
        for weight, flag in trainable:
            weight.requires_grad_(flag)
