"""Sections that recipes of every kind share. No torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medproof.conditions.hints import SPEAKERS
from medproof.records import Item, LicenseClass, Mode, QuestionType


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


class HintSection(Section):
    """A share of the examples has a sentence before the instruction as under the condition `hint`; the target stays.

    neutral: the share of these that names no option. The others name one drawn evenly from all options, wrong or right,
    so that nothing can be learnt from what is suggested but to look for oneself.
    """

    share: float = Field(default=0.0, ge=0, le=1)
    neutral: float = Field(default=0.25, ge=0, le=1)
    sources: tuple[str, ...] = tuple(SPEAKERS)

    @model_validator(mode="after")
    def _someone_speaks(self) -> HintSection:
        if not self.sources or not set(self.sources) <= set(SPEAKERS):
            raise ValueError(f"sources of hints are one or more of {', '.join(SPEAKERS)}")
        return self


class DataSection(Section):
    """What it is trained on. `fresh_options` redraws wording, distractors and their order every epoch; of the
    `curriculum` the last phase that has begun counts.

    rationale: what the modes with reasoning learn to write: `facts` (`models.prompts.rationale`), or `chain`, the steps
    that the item builds on with their evidence (`training.steps`).
    earlier: the share of examples that are asked behind the right answers of the steps they build on, as under the
    condition `steps(teacher_forced)`.
    no_evidence: the share of examples that show an image without evidence (`training.no_evidence`), where the right
    reply is a refusal.
    """

    train: str = "sample"
    images: str | None = None
    license_classes: tuple[LicenseClass, ...] | None = None
    modalities: tuple[str, ...] | None = None
    question_types: tuple[QuestionType, ...] | None = None
    modes: dict[Mode, float] = {"direct": 1.0}
    rationale: Literal["facts", "chain"] = "facts"
    earlier: float = Field(default=0.0, ge=0, le=1)
    hints: HintSection = HintSection()
    no_evidence: float = Field(default=0.0, ge=0, lt=1)
    curriculum: tuple[Phase, ...] = ()
    fresh_options: bool = True
    augment: Augment = Augment()

    @model_validator(mode="after")
    def _modes_weigh_something(self) -> DataSection:
        if any(w < 0 for w in self.modes.values()) or sum(self.modes.values()) <= 0:
            raise ValueError("modes needs at least one positive weight, as in {direct: 1.0}")
        return self

    @model_validator(mode="after")
    def _boxes_stay_true(self) -> DataSection:
        if self.rationale == "chain" and (self.augment.crop or self.augment.flip):
            raise ValueError("rationale: chain states boxes and sides: set augment.crop: 0 and augment.flip: false")
        return self

    @property
    def main_mode(self) -> Mode:
        """The mode with the largest weight."""
        return max(self.modes, key=lambda mode: self.modes[mode])

    def keeps(self, item: Item) -> bool:
        """Whether `item` passes the filters by modality and question type."""
        return (self.modalities is None or item.modality in self.modalities) and (
            self.question_types is None or item.question_type in self.question_types
        )

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
    batch_size: int = Field(
        default=64, ge=1, description="examples (sft) or groups (grpo) per optimizer step, over all processes"
    )
    accumulation: int = Field(default=1, ge=1, description="micro-batches per optimizer step and process")

    @model_validator(mode="after")
    def _batch_divides(self) -> OptimSection:
        if self.batch_size % self.accumulation:
            raise ValueError("batch_size must be a multiple of optim.accumulation")
        return self


class CheckpointSection(Section):
    """Resumable state every `every` steps; the last `keep_last` are kept, and with `keep_best` the best by that metric
    of metrics.jsonl (its mean since the checkpoint before)."""

    every: int = Field(default=250, ge=1)
    keep_last: int = Field(default=2, ge=1)
    keep_best: str | None = Field(default=None, description="as in eval/accuracy, reward or loss")
    greater_is_better: bool = True


class BaseRecipe(Section):
    """What a run of every kind of training says."""

    name: str = "run"
    seed: int = Field(default=0, ge=0)
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    optim: OptimSection = OptimSection()
    checkpoint: CheckpointSection = CheckpointSection()
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    mixed_precision: Literal["no", "bf16"] = "no"
