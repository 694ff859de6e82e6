"""Losses as pure functions of tensors."""

import torch
from torch import nn

from medproof.training.logprobs import token_divergence
from medproof.training.targets import IGNORE


def weighted_token_loss(
    hidden: torch.Tensor, head: nn.Module, labels: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Per-row weighted cross-entropy of the next token, and the weight it carries.

    hidden: (B, T, D); labels, weights: (B, T) aligned with the inputs. Returns ((B,), (B,)) sums in float32.
    The head runs on target positions only: no (B, T, vocabulary) tensor is made.
    """
    target = target_positions(labels)
    logits = head(hidden[:, :-1][target]).float()
    nll = nn.functional.cross_entropy(logits, labels[:, 1:][target], reduction="none")
    weight = weights[:, 1:].float()
    per_token = torch.zeros_like(weight).masked_scatter(target, nll * weight[target])
    return per_token.sum(-1), weight.sum(-1)


def weighted_divergence(
    clean: torch.Tensor, attacked: torch.Tensor, head: nn.Module, labels: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """(B,) float32: KL(clean || attacked) of the predictions of the target's tokens, weighed as they are and summed.

    clean, attacked: (B, T, D) hidden states of the same rows under two images. The regulariser of TRADES (Zhang et al.
    2019, arXiv:1901.08573, eq. 5), with gradients through both predictions.
    """
    target = target_positions(labels)
    values = token_divergence(clean[:, :-1][target], attacked[:, :-1][target], head)
    weight = weights[:, 1:].float()
    return torch.zeros_like(weight).masked_scatter(target, values * weight[target]).sum(-1)


def target_positions(labels: torch.Tensor) -> torch.Tensor:
    """(B, T - 1) bool: where the next token is learnt."""
    return labels[:, 1:] != IGNORE
