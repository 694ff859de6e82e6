"""From an `adversarial` section to perturbed images: who is attacked, from where, through what, and what is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from accelerate.utils import gather_object

from medproof.attacks.threat import ThreatModel
from medproof.images.preprocess import to_float
from medproof.models.chat import Chat
from medproof.seeds import derive_seed, rng
from medproof.smoothing.noise import noisy_copies, standard_normal
from medproof.training.adversarial_recipe import AdversarialSection
from medproof.training.attack_objectives import Answer, Divergence, Margin, Objective, Policy
from medproof.training.conditioning import Perturbed
from medproof.training.groups import Group, Prompt
from medproof.training.inner_attack import InnerAttack, step_rule
from medproof.training.policy_loss import PolicySettings
from medproof.training.warm_deltas import WarmDeltas, as_delta


@dataclass(frozen=True, eq=False)
class Rewarded:
    """What objective `policy` raises the loss of; see `attack_objectives.Policy`."""

    groups: Sequence[Group]
    advantages: torch.Tensor
    kept: torch.Tensor
    settings: PolicySettings
    temperature: float
    suppressed: Sequence[int]

    def objective(self, places: Sequence[int]) -> Policy:
        index = torch.tensor(list(places), dtype=torch.long)
        return Policy(
            [self.groups[i] for i in places],
            self.advantages[index],
            self.kept[index],
            replace(self.settings, beta=0.0),
            self.temperature,
            self.suppressed,
        )


class Adversary:
    """Perturbs the images of prompts. All draws come from the prompts' own seeds, so that no batch can change them."""

    def __init__(self, section: AdversarialSection, attack: InnerAttack) -> None:
        self.section = section
        self.attack = attack
        self._warm = WarmDeltas() if section.kind == "pgd" and section.start == "warm" else None

    def perturb(
        self, prompts: Sequence[Prompt], generations: int, step: int, rewarded: Rewarded | None = None
    ) -> Perturbed | None:
        """At optimizer step `step`; None where nothing is perturbed. With start warm all processes call it together."""
        if not self.section.is_on_at(step):
            return None
        attacked = torch.stack([self._side(prompt, generations) for prompt in prompts])  # [N, G]
        chosen = attacked.any(1).nonzero()[:, 0].tolist()
        if self.section.kind == "noise":
            sigma = self.section.sigma_at(step)
            images, flat = [gaussian(prompts[i], sigma) for i in chosen], [False] * len(chosen)
        else:
            images, flat = self._attack(prompts, chosen, step, rewarded)
        if not chosen:
            return None
        perturbed: list[torch.Tensor | None] = [None] * len(prompts)
        zero = torch.zeros(len(prompts))
        for i, image, is_flat in zip(chosen, images, flat, strict=True):
            perturbed[i], zero[i] = image, float(is_flat)
        return Perturbed(tuple(perturbed), attacked, zero)

    def save(self, folder: Path) -> None:
        """What the next steps depend on; nothing without warm starts."""
        if self._warm is not None:
            self._warm.save(folder)

    def load(self, folder: Path) -> None:
        if self._warm is not None:
            self._warm.load(folder)

    def _side(self, prompt: Prompt, generations: int) -> torch.Tensor:
        """[G] bool: which completions belong to the perturbed image; the last ones of a divided group.

        An empty image is left alone: there is no right letter to attack.
        """
        if prompt.empty:
            return torch.zeros(generations, dtype=torch.bool)
        share = self.section.share
        if self.section.mix == "rollouts":
            return torch.arange(generations) >= generations - round(share * generations)
        return torch.full((generations,), bool(rng(prompt.seed, "", "attacked").random() < share))

    def _attack(
        self, prompts: Sequence[Prompt], chosen: Sequence[int], step: int, rewarded: Rewarded | None
    ) -> tuple[list[torch.Tensor], list[bool]]:
        section = self.section
        threat = ThreatModel(section.norm, section.eps_at(step))
        # Rows of like length together: less padding. The result does not depend on the order.
        order = sorted(range(len(chosen)), key=lambda k: (len(prompts[chosen[k]].ids), k))
        asked = [prompts[chosen[k]] for k in order]
        clean = [to_float(prompt.image) for prompt in asked]
        found = self.attack(
            self._objective(asked, [chosen[k] for k in order], rewarded),
            clean,
            [self._start(prompt, image, threat) for prompt, image in zip(asked, clean, strict=True)],
            threat,
            step_rule(threat, section.rule, section.steps, section.step_size),
            section.steps,
        )
        if self._warm is not None:
            keys = [(chosen[k], prompt.item.id) for k, prompt in zip(order, asked, strict=True)]
            _share(self._warm, keys, [as_delta(i, c) for i, c in zip(found.images, clean, strict=True)])
        back = {k: place for place, k in enumerate(order)}
        images = [found.images[back[k]] for k in range(len(chosen))]
        return images, [found.flat[back[k]] for k in range(len(chosen))]

    def _objective(
        self, prompts: Sequence[Prompt], places: Sequence[int], rewarded: Rewarded | None
    ) -> Callable[[slice], Objective]:
        chat: Chat = self.attack.chat
        match self.section.objective:
            case "answer":
                return lambda part: Answer(chat, prompts[part])
            case "margin":
                return lambda part: Margin(chat, prompts[part])
            case "kl":
                return lambda part: Divergence(chat, prompts[part])
            case "policy":
                if rewarded is None:
                    raise ValueError("objective policy attacks groups that have completions and advantages")
                return partial(_part_of, rewarded, places)

    def _start(self, prompt: Prompt, clean: torch.Tensor, threat: ThreatModel) -> torch.Tensor:
        if self.section.start == "clean":
            return clean
        kept = None if self._warm is None else self._warm.start(prompt.item.id, clean, threat)
        return threat.random_start(clean, derive_seed(prompt.seed, "", "start")) if kept is None else kept


def _part_of(rewarded: Rewarded, places: Sequence[int], part: slice) -> Policy:
    return rewarded.objective(places[part])


def gaussian(prompt: Prompt, sigma: float) -> torch.Tensor:
    """The prompt's image (3, H, W) with noise of its own: float, not clipped, as randomized smoothing adds it."""
    clean = to_float(prompt.image)
    normal = torch.from_numpy(standard_normal(derive_seed(prompt.seed, "", "noise"), 0, 1, tuple(clean.shape)))
    return noisy_copies(clean, sigma, normal)[0]


def _share(warm: WarmDeltas, keys: Sequence[tuple[int, str]], deltas: Sequence[torch.Tensor]) -> None:
    """Keep the deltas of all processes, in the order of the prompt stream: an item comes to any of them."""
    mine = [(place, item, delta) for (place, item), delta in zip(keys, deltas, strict=True)]
    everyone = sorted(gather_object(mine), key=lambda entry: entry[0])  # stable: within a place by process
    warm.update([item for _, item, _ in everyone], [delta for _, _, delta in everyone])
