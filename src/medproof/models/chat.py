"""From messages to token ids: chat template, image tokens, the answer slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from medproof.errors import UserError
from medproof.models.prompts import ANSWER_OPEN
from medproof.records import Message


@dataclass(frozen=True)
class AnswerSlot:
    """`context`: ids of the assistant text before the answer letter; `letters`: the one next id per letter."""

    context: tuple[int, ...]
    letters: tuple[int, ...]


class Chat:
    """A tokenizer with its chat template and the ids of the vision markers."""

    def __init__(self, tokenizer: Any, image_token_id: int, name: str) -> None:
        if not tokenizer.chat_template:
            raise UserError(f"model {name} has no chat template: add chat_template.jinja to its folder")
        self.tokenizer = tokenizer
        self.image_token_id = image_token_id
        self.name = name
        self._prompt = lru_cache(maxsize=8192)(self._encode_prompt)
        self._slot = lru_cache(maxsize=8192)(self._find_slot)

    def prompt_ids(self, messages: Sequence[Message], image_tokens: int) -> tuple[int, ...]:
        """Ids of the conversation up to where the assistant begins; each image marker becomes `image_tokens` ids."""
        return self._prompt(tuple(messages), image_tokens)

    def text_ids(self, text: str) -> tuple[int, ...]:
        """Ids of plain assistant text, without special tokens added."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def answer_slot(self, letters: str, prefix: str = ANSWER_OPEN) -> AnswerSlot:
        """Where each of `letters` would be written after `prefix`, tokenised in context."""
        return self._slot(letters, prefix)

    def continuation(self, prefix: str, text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ids of `prefix` and of what `text` adds, tokenised in context: where they merge, the token counts as text's.

        Raises ValueError for an empty text.
        """
        if not text:
            raise ValueError("an empty text has no log-probability")
        before, whole = self.text_ids(prefix), self.text_ids(prefix + text)
        common = 0
        while common < len(before) and before[common] == whole[common]:
            common += 1
        return whole[:common], whole[common:]

    def end_ids(self) -> tuple[int, ...]:
        """Ids that close the assistant's turn in training targets."""
        return (self.tokenizer.eos_token_id,)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()

    def _encode_prompt(self, messages: tuple[Message, ...], image_tokens: int) -> tuple[int, ...]:
        chat = [
            {
                "role": m.role,
                "content": [*([{"type": "image"}] if m.image else []), {"type": "text", "text": m.text}],
            }
            for m in messages
        ]
        text = self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        ids: list[int] = []
        for token in self.tokenizer.encode(text, add_special_tokens=False):
            ids.extend([token] * image_tokens if token == self.image_token_id else [token])
        images = sum(m.image for m in messages)
        if ids.count(self.image_token_id) != images * image_tokens:
            raise UserError(f"the text of a message to {self.name} holds an image marker: remove it from the data")
        return tuple(ids)

    def _find_slot(self, letters: str, prefix: str) -> AnswerSlot:
        endings = [self.text_ids(f"{prefix}{letter}</answer>") for letter in letters]
        common = 0
        while all(len(e) > common for e in endings) and len({e[common] for e in endings}) == 1:
            common += 1
        next_ids = tuple(e[common] for e in endings if len(e) > common)
        if len(set(next_ids)) != len(letters):
            raise UserError(f"the tokenizer of {self.name} does not tell the answer letters {letters} apart")
        return AnswerSlot(context=endings[0][:common], letters=next_ids)
