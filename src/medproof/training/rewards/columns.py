"""What a reward function is given, always as keyword arguments and one entry per completion, groups one after another.

prompts, completions: TRL's conversational form, `[{"role": "assistant", "content": text}]`. completion_ids: lists of
token ids, the end token included. Columns of every run:

- item: the `records.Item`; options, answer, modality, question_type: its fields; answer_letter.
- mode: "direct", "think" or "think_after".
- empty: whether the image shows nothing (`data.no_evidence`), so that the right reply is a refusal. Only functions that
  say `f.judges_empty = True` are asked about such completions; for all others the reward does not apply.
- image: uint8 (H, W, 3) on the model's grid: the prompt's own image, whatever the completion was conditioned on.

Columns computed only where a function asks for them, as in `f.needs = {"option_probs"}`, since they cost forwards:

- option_probs: K probabilities of the item's letters, normalised over these K, at temperature 1, at the completion's
  own answer slot: the token that follows `models.prompts.answer_prefix(text)` after the prompt with its own image.
- option_probs_blank: the same, same text, with the image replaced by grey 128 of the same size (condition `blank`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medproof.records import Message
from medproof.training.groups import Group

ALWAYS = (
    "item",
    "mode",
    "options",
    "answer",
    "answer_letter",
    "modality",
    "question_type",
    "empty",
    "image",
)
ON_DEMAND = ("option_probs", "option_probs_blank")
POSITIONAL = ("prompts", "completions", "completion_ids")

Columns = dict[str, list[Any]]


def columns(groups: Sequence[Group], on_demand: Mapping[str, Sequence[Any]]) -> Columns:
    """All keyword arguments for the completions of `groups`; `on_demand` has one entry per completion."""
    given: Columns = {name: [] for name in (*POSITIONAL, *ALWAYS)}
    for group in groups:
        prompt, item = group.prompt, group.prompt.item
        for completion in group.completions:
            row = {
                "prompts": [_turn(message) for message in prompt.messages],
                "completions": [{"role": "assistant", "content": completion.text}],
                "completion_ids": list(completion.ids),
                "item": item,
                "mode": prompt.mode,
                "options": list(item.options),
                "answer": item.answer,
                "answer_letter": item.answer_letter,
                "modality": item.modality,
                "question_type": item.question_type,
                "empty": prompt.empty,
                "image": prompt.image,
            }
            for name, value in row.items():
                given[name].append(value)
    return given | {name: list(values) for name, values in on_demand.items()}


def reply(completion: Sequence[Mapping[str, str]]) -> str:
    """The text of one of `completions`."""
    return completion[-1]["content"]


def _turn(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": message.text}
