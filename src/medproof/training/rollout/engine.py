"""What the trainer knows of a rollout engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from medproof.errors import UserError
from medproof.models.chat import Chat
from medproof.training.groups import Completion, Group, Images, Prompt


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn; names and meanings are TRL's. temperature 0: greedy. top_k 0 and top_p 1: all tokens.

    Raises UserError for a value without meaning.
    """

    num_generations: int
    max_completion_length: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0

    def __post_init__(self) -> None:
        for name, value, allowed, want in (
            ("num_generations", self.num_generations, self.num_generations >= 1, "1 or more"),
            ("max_completion_length", self.max_completion_length, self.max_completion_length >= 1, "1 or more"),
            ("temperature", self.temperature, self.temperature >= 0, "0 (greedy) or more"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("top_k", self.top_k, self.top_k >= 0, "0 (all tokens) or more"),
        ):
            if not allowed:
                raise UserError(f"{name} {value} makes no sense: give {want}")


class Engine(Protocol):
    """Samples groups. A completion depends on its prompt, its image, its place g in the group and the weights only."""

    def generate(self, prompts: Sequence[Prompt], images: Images, sampling: Sampling) -> list[Group]:
        """`num_generations` completions per prompt, in the order of the prompts; `images` says what each shows."""

    def sync(self, net: Any) -> None:
        """Sample from the weights of `net` from now on."""


def make_completion(ids: Sequence[int], end_ids: Sequence[int], chat: Chat) -> Completion:
    """Cut the ids behind the first end token; a reply without one is truncated."""
    place = next((i for i, token in enumerate(ids) if token in end_ids), None)
    kept = tuple(ids) if place is None else tuple(ids[: place + 1])
    return Completion(kept, chat.decode(kept if place is None else kept[:-1]), truncated=place is None)
