"""The `watch:` section of a recipe: what is measured on the same items again and again while training. No torch."""

from __future__ import annotations

from pydantic import Field, model_validator

from medproof.training.adversarial_recipe import AdversarialSection, WatchAttack
from medproof.training.sections import BaseRecipe, Section


class WatchSection(Section):
    """Before the first step, every `every` steps (0: never) and after the last the greedy accuracy on the same `items`:
    with their image, with a grey one, and, where there is an attack to make, with the attacked one.

    held_out: take them, by whole patients, out of the training data; else they are a sample of what is trained on.
    The test split is never read.
    attack: made where `eps` is given here or in `adversarial`.
    stop_when_blind: end the run, with a checkpoint and a model, once blank accuracy is more than this above what it was
    before the first step. Two standard errors of it are about 1 / sqrt(items).
    """

    every: int = Field(default=0, ge=0)
    items: int = Field(default=64, ge=1)
    held_out: bool = True
    attack: WatchAttack = WatchAttack()
    stop_when_blind: float | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="after")
    def _blindness_is_watched(self) -> WatchSection:
        if self.stop_when_blind is not None and not self.every:
            raise ValueError("stop_when_blind needs watch.every, the steps between two looks")
        return self


class WatchedRecipe(BaseRecipe):
    """What recipes of both kinds say of attacks and of watching."""

    adversarial: AdversarialSection | None = None
    watch: WatchSection = WatchSection()

    @model_validator(mode="after")
    def _best_is_watched(self) -> WatchedRecipe:
        best = self.checkpoint.keep_best or ""
        if best.startswith("eval/") and not self.watch.every:
            raise ValueError(f"checkpoint.keep_best {best} needs watch.every")
        return self
