"""Losses as pure functions of tensors."""

import torch
from torch import nn

from medproof.training.targets import IGNORE


def weighted_token_loss(
    hidden: torch.Tensor, head: nn.Module, labels: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Per-row weighted cross-entropy of the next token, and the weight it carries.

    hidden: (B, T, D); labels, weights: (B, T) aligned with the inputs. Returns ((B,), (B,)) sums in float32.
    The head runs on target positions only: no (B, T, vocabulary) tensor is made.
    """
    target = labels[:, 1:] != IGNORE
    logits = head(hidden[:, :-1][target]).float()
    nll = nn.functional.cross_entropy(logits, labels[:, 1:][target], reduction="none")
    weight = weights[:, 1:].float()
    per_token = torch.zeros_like(weight).masked_scatter(target, nll * weight[target])
    return per_token.sum(-1), weight.sum(-1)
