"""Which completion sees which image: groups with a perturbed image beside the clean one, as rows of a pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from medproof.images.preprocess import to_float
from medproof.seeds import derive_seed
from medproof.training.adversarial_recipe import Shown
from medproof.training.groups import Completion, Group, Images, Prompt
from medproof.training.rollout.engine import Engine, Sampling

_NOTHING = Completion((), "", truncated=False)


@dataclass(frozen=True, eq=False)
class Perturbed:
    """images: per group the perturbed image (3, H, W), float32 on the CPU, or None where the group stays clean.
    attacked: [N, G] bool, the completions that belong to the perturbed image. flat: [N] float, 1 where every gradient
    of the attack was zero."""

    images: tuple[torch.Tensor | None, ...]
    attacked: torch.Tensor
    flat: torch.Tensor

    def select(self, places: Sequence[int]) -> Perturbed | None:
        """Those of the groups at `places`; None where none of them is perturbed."""
        index = torch.tensor(list(places), dtype=torch.long)
        images = tuple(self.images[i] for i in places)
        if all(image is None for image in images):
            return None
        return Perturbed(images, self.attacked[index], self.flat[index])

    def numbers(self, clean: Sequence[npt.NDArray[np.uint8]]) -> torch.Tensor:
        """[N, 3]: largest change in grey levels, length of the change in [0, 1] pixels, `flat`; NaN for clean ones."""
        numbers = torch.full((len(clean), 3), torch.nan)
        for place, (own, image) in enumerate(zip(clean, self.images, strict=True)):
            if image is not None:
                delta = image - to_float(own)
                numbers[place] = torch.stack([delta.abs().max() * 255, delta.norm(), self.flat[place]])
        return numbers


@dataclass(frozen=True, eq=False)
class Rows:
    """Groups to be collated as rows, some with their completions divided over two rows (the others' are empty there).

    owners: of each row the group it is a part of; None: the rows are the groups. twins: the last so many rows show the
    other image to the completions of the first so many, and belong to no group.
    """

    groups: tuple[Group, ...]
    images: Images
    owners: tuple[int, ...] | None = None
    twins: int = 0

    def merge(self, values: torch.Tensor, count: int) -> torch.Tensor:
        """[rows, G, L] (or of the first rows only), 0 off the mask -> [count, G, L] of the groups."""
        if self.owners is None:
            return values
        owners = torch.tensor(self.owners[: len(values)], device=values.device)
        merged = torch.zeros((count, *values.shape[1:]), dtype=values.dtype, device=values.device)
        return merged.index_add(0, owners, values[: len(owners)])


def rows_for(groups: Sequence[Group], perturbed: Perturbed | None, shown: Shown, *, twins: bool = False) -> Rows:
    """The rows of a pass in which completions of the perturbed side see the `shown` image, all others the clean one.

    twins: further rows in which the perturbed side sees the other image.
    """
    if perturbed is None or (shown == "clean" and not twins):
        return Rows(tuple(groups), Images.of_prompts([group.prompt for group in groups]))
    moved, still = [], []
    for place, (group, image) in enumerate(zip(groups, perturbed.images, strict=True)):
        side = perturbed.attacked[place].tolist()
        if image is not None:
            moved.append((place, _only(group, side), image))
        if not all(side):
            still.append((place, _only(group, [not own for own in side]), None))
    other = [(place, group, None if shown == "attacked" else image) for place, group, image in moved]
    first = [(place, group, image if shown == "attacked" else None) for place, group, image in moved]
    rows = [*first, *still, *(other if twins else ())]
    return Rows(
        groups=tuple(group for _, group, _ in rows),
        images=_images([group.prompt for _, group, _ in rows], [image for _, _, image in rows]),
        owners=tuple(place for place, _, _ in (*first, *still)),
        twins=len(other) if twins else 0,
    )


def sample(
    engine: Engine, prompts: Sequence[Prompt], perturbed: Perturbed | None, shown: Shown, sampling: Sampling
) -> list[Group]:
    """Groups of `sampling.num_generations` completions; those of the perturbed side see the `shown` image.

    In a divided group the completions of the clean image come first.
    """
    if perturbed is None or shown == "clean":
        return engine.generate(prompts, Images.of_prompts(prompts), sampling)
    requests: dict[int, list[tuple[int, Prompt, torch.Tensor | None]]] = {}
    for place, (prompt, image) in enumerate(zip(prompts, perturbed.images, strict=True)):
        attacked = int(perturbed.attacked[place].sum())
        clean = sampling.num_generations - attacked
        if clean:
            requests.setdefault(clean, []).append((place, prompt, None))
        if attacked:
            # Divided, the sides draw by themselves; whole, as they would draw from the clean image.
            own = replace(prompt, seed=derive_seed(prompt.seed, "", "attacked")) if clean else prompt
            requests.setdefault(attacked, []).append((place, own, image))
    groups = [Group(prompt, ()) for prompt in prompts]
    found: dict[tuple[int, bool], Group] = {}
    for count, asked in requests.items():
        own_prompts = [prompt for _, prompt, _ in asked]
        images = _images(own_prompts, [image for _, _, image in asked])
        written = engine.generate(own_prompts, images, replace(sampling, num_generations=count))
        found |= {(place, image is not None): group for (place, _, image), group in zip(asked, written, strict=True)}
    for (place, _), group in sorted(found.items(), key=lambda entry: entry[0]):
        groups[place] = Group(groups[place].prompt, groups[place].completions + group.completions)
    return groups


def _only(group: Group, kept: Sequence[bool]) -> Group:
    """The group with nothing in the places that are not kept."""
    if all(kept):
        return group
    return Group(group.prompt, tuple(c if own else _NOTHING for c, own in zip(group.completions, kept, strict=True)))


def _images(prompts: Sequence[Prompt], perturbed: Sequence[torch.Tensor | None]) -> Images:
    """For each prompt its perturbed image, or its own; equal clean ones once."""
    clean = Images.of_prompts([prompt for prompt, image in zip(prompts, perturbed, strict=True) if image is None])
    pixels, clean_of = list(clean.pixels), iter(clean.of)
    of: list[int] = []
    for image in perturbed:
        if image is None:
            of.append(next(clean_of))
        else:
            of.append(len(pixels))
            pixels.append(image)
    return Images(tuple(pixels), tuple(of))
