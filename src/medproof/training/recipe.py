"""Recipes: one YAML file describes one training run. Unknown keys are refused with the closest right name. No torch."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medproof.errors import UserError
from medproof.records import LicenseClass, Mode, QuestionType


class Section(BaseModel):
    """A part of a recipe: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Lora(Section):
    """PEFT's LoRA, by PEFT's names."""

    r: int = Field(default=16, ge=1)
    lora_alpha: int = Field(default=32, ge=1)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")


class ModelSection(Section):
    """What is trained: any model `models.load` takes, or `fresh-nano`: random weights and a tokenizer made from the
    training text."""

    init: str = "fresh-nano"
    dtype: Literal["float32", "bfloat16"] = "float32"
    lora: Lora | None = None
    gradient_checkpointing: bool = False


class Augment(Section):
    """Label-preserving changes of a training image; 0 switches one off.

    crop: largest share cut off each side. gain, gamma: largest relative change of contrast and of exponent.
    flip: mirror left-right, only where no question or fact of the item speaks of a side.
    """

    crop: float = Field(default=0.0, ge=0, lt=0.5)
    gain: float = Field(default=0.0, ge=0, lt=1)
    gamma: float = Field(default=0.0, ge=0, lt=1)
    flip: bool = False


class Phase(Section):
    """From epoch `from_epoch` on, items come up in proportion to the weight of their question type (1 by default)."""

    from_epoch: int = Field(default=0, ge=0)
    weights: dict[QuestionType, float] = {}

    @model_validator(mode="after")
    def _not_negative(self) -> Phase:
        if any(w < 0 for w in self.weights.values()):
            raise ValueError("weights are 0 or more")
        return self


class DataSection(Section):
    """What it is trained on. `fresh_options` redraws wording, distractors and their order every epoch; of the
    `curriculum` the last phase that has begun counts."""

    train: str = "sample"
    images: str | None = None
    license_classes: tuple[LicenseClass, ...] | None = None
    modalities: tuple[str, ...] | None = None
    question_types: tuple[QuestionType, ...] | None = None
    modes: dict[Mode, float] = {"direct": 1.0}
    curriculum: tuple[Phase, ...] = ()
    fresh_options: bool = True
    augment: Augment = Augment()

    @model_validator(mode="after")
    def _modes_weigh_something(self) -> DataSection:
        if any(w < 0 for w in self.modes.values()) or sum(self.modes.values()) <= 0:
            raise ValueError("modes needs at least one positive weight, as in {direct: 1.0}")
        return self

    def weights(self, epoch: int) -> dict[QuestionType, float]:
        """Weights of question types in `epoch`; empty for all alike."""
        begun = [phase for phase in self.curriculum if phase.from_epoch <= epoch]
        return max(begun, key=lambda phase: phase.from_epoch).weights if begun else {}


class Restart(Section):
    """At step `step` the cosine begins anew, from `lr`."""

    step: int = Field(ge=1)
    lr: float = Field(gt=0)


class OptimSection(Section):
    """AdamW with linear warm-up and cosine decay to `min_lr_ratio` of `lr`, begun anew at every restart."""

    lr: float = Field(default=4e-4, gt=0)
    min_lr_ratio: float = Field(default=0.0, ge=0, le=1)
    warmup_steps: int = Field(default=50, ge=0)
    weight_decay: float = Field(default=0.05, ge=0)
    betas: tuple[float, float] = (0.9, 0.98)
    max_grad_norm: float = Field(default=1.0, gt=0)
    steps: int = Field(default=1500, ge=1)
    restarts: tuple[Restart, ...] = ()
    batch_size: int = Field(default=64, ge=1, description="examples per optimizer step, over all processes")
    accumulation: int = Field(default=1, ge=1, description="micro-batches per optimizer step and process")


class CheckpointSection(Section):
    """Resumable state every `every` steps; the last `keep_last` are kept."""

    every: int = Field(default=250, ge=1)
    keep_last: int = Field(default=2, ge=1)


class Recipe(Section):
    """A whole run of supervised fine-tuning."""

    kind: Literal["sft"] = "sft"
    name: str = "sft"
    seed: int = Field(default=0, ge=0)
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    optim: OptimSection = OptimSection()
    checkpoint: CheckpointSection = CheckpointSection()
    answer_weight: float = Field(
        default=12.0, gt=0, description="weight of the answer letter's token against 1 for every other target token"
    )
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    mixed_precision: Literal["no", "bf16"] = "no"

    @model_validator(mode="after")
    def _batch_divides(self) -> Recipe:
        if self.optim.batch_size % self.optim.accumulation:
            raise ValueError("optim.batch_size must be a multiple of optim.accumulation")
        return self


def load_recipe(path: Path, overrides: list[str] | None = None) -> Recipe:
    """Read a YAML recipe and apply dotted `key=value` overrides, values read as YAML.

    Raises UserError for a missing file, bad YAML, an unknown key (naming the closest one) or a bad value.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"recipe {path} not found: recipes/ holds the ones that come with the project") from error
    except yaml.YAMLError as error:
        raise UserError(f"recipe {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"recipe {path} is not a mapping of keys to values")
    for override in overrides or []:
        _override(content, override)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise UserError(f"recipe {path}: {_first_problem(error)}") from error


def _override(content: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"override {text!r} is not of the form key=value, as in optim.steps=100")
    *parents, last = key.strip().split(".")
    node = content
    for part in parents:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise UserError(f"override {text!r}: {part!r} is a value, not a section")
        node = child
    node[last] = yaml.safe_load(value)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        return f"{where or 'recipe'}: {problem['msg']}"
    *parents, wrong = (str(part) for part in problem["loc"])
    known = sorted(_fields(parents))
    close = difflib.get_close_matches(wrong, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
    return f"unknown key {where!r}: {hint}"


def _fields(parents: list[str]) -> list[str]:
    """Names allowed in the section that `parents` leads to."""
    section: Any = Recipe
    for part in parents:
        annotation = section.model_fields[part].annotation
        options = getattr(annotation, "__args__", (annotation,))
        section = next(a for a in options if isinstance(a, type) and issubclass(a, Section))
    return list(section.model_fields)
