"""Reading the weights of a network in training: wrapped, sharded, or with LoRA adapters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.distributed.tensor import DTensor


def bare(net: Any) -> Any:
    """The Qwen-VL network inside wrappers of data parallelism, compilation and PEFT; adapters stay in its layers."""
    for wrapper in ("module", "_orig_mod"):
        net = getattr(net, wrapper, net)
    return net.get_base_model() if hasattr(net, "get_base_model") else net


def plain_name(name: str) -> str:
    """A parameter's name without what activation checkpointing and compilation put in between."""
    return name.replace("_checkpoint_wrapped_module.", "").replace("_orig_mod.", "")


def whole(value: torch.Tensor) -> torch.Tensor:
    """A sharded parameter, gathered; a collective call where it is sharded."""
    gathered: torch.Tensor = value.full_tensor() if isinstance(value, DTensor) else value
    return gathered


@torch.no_grad()
def copy_weights(source: Any, target: Any) -> None:
    """Give `target` the parameters of `source`, sharded ones gathered one by one; nothing where they are one network.

    Raises ValueError where the two do not have the same parameters.
    """
    theirs = {plain_name(name): value for name, value in bare(source).named_parameters()}
    ours = dict(bare(target).named_parameters())
    if theirs.keys() != ours.keys():
        raise ValueError(f"parameters of only one network: {sorted(theirs.keys() ^ ours.keys())[:4]}")
    for name, value in theirs.items():
        if value is not ours[name]:
            ours[name].copy_(whole(value))


def merged_weights(net: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, weight) of the network without PEFT, LoRA adapters added on; `net` itself is left as it is."""
    inner = bare(net)
    for name, value in inner.named_parameters():
        if ".lora_" in name:
            continue
        weight = whole(value.detach())
        layer, inside, leaf = name.rpartition(".base_layer.")
        if inside and leaf == "weight":
            adapted = inner.get_submodule(layer)
            for adapter in adapted.active_adapters:
                weight = weight + whole(adapted.get_delta_weight(adapter).detach()).to(weight)
        yield plain_name(name).replace(".base_layer.", "."), weight
