"""The groups of one generation cycle with all that the updates on them need. Written into checkpoints, unpickled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from medproof.errors import UserError
from medproof.training.conditioning import Perturbed
from medproof.training.groups import Completion, Group, Prompt


@dataclass(frozen=True, eq=False)
class GroupBuffer:
    """Groups on this process, in the order of the prompt stream.

    rewards: [N, G, R], NaN where a reward function gave None. totals, advantages: [N, G]. old, reference: one [G, L]
    per group, L its longest completion, or None where the loss needs none. perturbed: None where no image is. All on
    the CPU.
    """

    groups: tuple[Group, ...]
    rewards: torch.Tensor
    totals: torch.Tensor
    advantages: torch.Tensor
    old: tuple[torch.Tensor, ...] | None = None
    reference: tuple[torch.Tensor, ...] | None = None
    perturbed: Perturbed | None = None

    def select(self, places: Sequence[int]) -> GroupBuffer:
        """The groups at `places`, in that order."""

        def chosen(logps: tuple[torch.Tensor, ...] | None) -> tuple[torch.Tensor, ...] | None:
            return None if logps is None else tuple(logps[i] for i in places)

        index = torch.tensor(list(places), dtype=torch.long)
        return GroupBuffer(
            tuple(self.groups[i] for i in places),
            self.rewards[index],
            self.totals[index],
            self.advantages[index],
            chosen(self.old),
            chosen(self.reference),
            None if self.perturbed is None else self.perturbed.select(places),
        )

    def save(self, folder: Path, process: int) -> None:
        """Two files of this process. The prompts are left out: they follow from the recipe and the step."""
        tensors = {"rewards": self.rewards, "totals": self.totals, "advantages": self.advantages}
        if self.perturbed is not None:
            tensors |= {"attacked": self.perturbed.attacked, "flat": self.perturbed.flat}
            tensors |= {f"image.{i}": image for i, image in enumerate(self.perturbed.images) if image is not None}
        for name, logps in (("old", self.old), ("reference", self.reference)):
            tensors |= {f"{name}.{i}": values for i, values in enumerate(logps or ())}
        for i, group in enumerate(self.groups):
            tensors |= {f"ids.{i}.{g}": torch.tensor(c.ids, dtype=torch.long) for g, c in enumerate(group.completions)}
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, _tensors_file(folder, process))
        rows = [
            {
                "item": group.prompt.item.id,
                "prompt": list(group.prompt.ids),
                "texts": [c.text for c in group.completions],
                "truncated": [c.truncated for c in group.completions],
            }
            for group in self.groups
        ]
        _rows_file(folder, process).write_text(json.dumps(rows), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, process: int, prompts: Sequence[Prompt]) -> GroupBuffer:
        """Raises UserError where the prompts are not those that the saved completions reply to."""
        tensors = load_file(_tensors_file(folder, process))
        rows: list[dict[str, Any]] = json.loads(_rows_file(folder, process).read_text(encoding="utf-8"))
        asked = [(row["item"], tuple(row["prompt"])) for row in rows]
        if asked != [(prompt.item.id, prompt.ids) for prompt in prompts]:
            raise UserError(f"{folder} replies to other prompts: data.train has changed; use another --out")

        def ragged(name: str) -> tuple[torch.Tensor, ...] | None:
            found = tuple(tensors[f"{name}.{i}"] for i in range(len(prompts)) if f"{name}.{i}" in tensors)
            return found or None

        groups = tuple(
            Group(
                prompt,
                tuple(
                    Completion(tuple(tensors[f"ids.{i}.{g}"].tolist()), text, truncated)
                    for g, (text, truncated) in enumerate(zip(row["texts"], row["truncated"], strict=True))
                ),
            )
            for i, (prompt, row) in enumerate(zip(prompts, rows, strict=True))
        )
        kept = (tensors["rewards"], tensors["totals"], tensors["advantages"])
        perturbed = None
        if "attacked" in tensors:
            images = tuple(tensors.get(f"image.{i}") for i in range(len(prompts)))
            perturbed = Perturbed(images, tensors["attacked"], tensors["flat"])
        return cls(groups, *kept, ragged("old"), ragged("reference"), perturbed)


def _tensors_file(folder: Path, process: int) -> Path:
    return folder / f"groups-{process}.safetensors"


def _rows_file(folder: Path, process: int) -> Path:
    return folder / f"groups-{process}.json"
