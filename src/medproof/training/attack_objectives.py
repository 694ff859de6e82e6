"""What the inner attack of adversarial training raises: differentiable losses of one row per image.

Each objective says which rows it reads (`groups`), so that nothing but the image, the prompt and the few tokens that
its loss needs passes the network; `policy` alone reads whole groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from medproof.models.chat import Chat
from medproof.models.prompts import ANSWER_CLOSE, ANSWER_OPEN, answer_prefix, target_text
from medproof.training.groups import Completion, Group, Prompt
from medproof.training.logprobs import completion_states, token_divergence, token_logprobs
from medproof.training.policy_loss import PolicySettings, policy_loss
from medproof.training.prefix_rows import GroupBatch, Layout


class Objective(Protocol):
    """A loss of every image; larger is more adversarial."""

    groups: Sequence[Group]
    layout: Layout

    def prepare(self, net: Any, clean: GroupBatch) -> None:
        """Called once without gradient, with the rows as they show the clean images."""
        return None

    def __call__(self, net: Any, batch: GroupBatch) -> torch.Tensor:
        """[B] of the collated `groups`, differentiable in the pixels. net: unwrapped."""


class Answer(Objective):
    """-log p of the right answer's text, summed over its tokens: all of the target up to the end of the answer.

    In `think` mode that begins with the rationale built from the annotations: before the rollout there is no other.
    """

    layout: Layout = "repeated"

    def __init__(self, chat: Chat, prompts: Sequence[Prompt]) -> None:
        self.groups = [answer_row(chat, prompt) for prompt in prompts]

    def __call__(self, net: Any, batch: GroupBatch) -> torch.Tensor:
        logps, _ = token_logprobs(completion_states(net, batch), net.lm_head, batch.targets)
        return -_per_row(logps, batch)


class Margin(Objective):
    """Best wrong option - right one, at the slot behind `prefixes`, by default behind `<answer>` that opens the reply.

    Opening the reply there skips the reasoning of `think` mode: it asks what the image alone says.
    """

    layout: Layout = "repeated"

    def __init__(self, chat: Chat, prompts: Sequence[Prompt], prefixes: Sequence[str] | None = None) -> None:
        self.items = [prompt.item for prompt in prompts]
        self.slots = [
            chat.answer_slot(prompt.item.letters, prefix)
            for prompt, prefix in zip(prompts, prefixes or [ANSWER_OPEN] * len(prompts), strict=True)
        ]
        self.groups = [
            _row(prompt, (*slot.context, slot.letters[prompt.item.answer_index]))
            for prompt, slot in zip(prompts, self.slots, strict=True)
        ]

    def __call__(self, net: Any, batch: GroupBatch) -> torch.Tensor:
        ends = batch.mask.sum(-1).flatten().cumsum(0) - 1  # of each row the place of its last token among all N
        logits = net.lm_head(completion_states(net, batch)[ends]).float()  # [B, V]
        margins = []
        for row, item, slot in zip(logits, self.items, self.slots, strict=True):
            letters = row[list(slot.letters)]
            wrong = torch.arange(len(letters), device=letters.device) != item.answer_index
            margins.append(letters[wrong].max() - letters[item.answer_index])
        return torch.stack(margins)


class Divergence(Objective):
    """KL(prediction on the clean image || on this one), summed over the tokens of the right answer's text."""

    layout: Layout = "repeated"

    def __init__(self, chat: Chat, prompts: Sequence[Prompt]) -> None:
        self.groups = [answer_row(chat, prompt) for prompt in prompts]

    def prepare(self, net: Any, clean: GroupBatch) -> None:
        self._clean = completion_states(net, clean)  # [N, D]

    def __call__(self, net: Any, batch: GroupBatch) -> torch.Tensor:
        return _per_row(token_divergence(self._clean, completion_states(net, batch), net.lm_head), batch)


class Policy(Objective):
    """GRPO's loss on the group's own completions, by their advantages.

    Without old log-probabilities the ratio is 1 and nothing is clipped: the clip would end the attack where it begins
    to work. Groups whose advantages are all 0 have gradient 0, in training as here.
    """

    layout: Layout = "shared"

    def __init__(
        self,
        groups: Sequence[Group],
        advantages: torch.Tensor,
        kept: torch.Tensor,
        settings: PolicySettings,
        temperature: float,
        suppressed: Sequence[int],
    ) -> None:
        """advantages: [B, G]; kept: [B, G] bool, completions that are learnt from."""
        self.groups = list(groups)
        self._advantages, self._kept = advantages, kept
        self._settings, self._temperature, self._suppressed = settings, temperature, suppressed

    def __call__(self, net: Any, batch: GroupBatch) -> torch.Tensor:
        logps, _ = token_logprobs(
            completion_states(net, batch),
            net.lm_head,
            batch.targets,
            temperature=self._temperature,
            suppressed=self._suppressed,
        )
        placed = torch.zeros(batch.mask.shape, dtype=logps.dtype, device=logps.device).masked_scatter(batch.mask, logps)
        mask = batch.mask & self._kept.to(batch.mask.device)[..., None]
        advantages = self._advantages.to(logps.device)
        return policy_loss(placed, None, advantages, mask, None, self._settings).numerators


def answer_row(chat: Chat, prompt: Prompt) -> Group:
    """The prompt with the right answer's text as its one completion."""
    target = target_text(prompt.item, prompt.mode)
    text = f"{answer_prefix(target)}{prompt.item.answer_letter}{ANSWER_CLOSE}"
    return _row(prompt, chat.text_ids(text))


def _row(prompt: Prompt, ids: tuple[int, ...]) -> Group:
    return Group(prompt, (Completion(ids, "", truncated=False),))


def _per_row(tokens: torch.Tensor, batch: GroupBatch) -> torch.Tensor:
    """[N] values of the completions' tokens -> [B] sums."""
    placed = torch.zeros(batch.mask.shape, dtype=tokens.dtype, device=tokens.device).masked_scatter(batch.mask, tokens)
    return placed.sum((1, 2))
