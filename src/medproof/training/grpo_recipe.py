"""The recipe of a GRPO run, by the names of TRL's GRPOConfig where it has one. No torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from medproof.training.sections import ModelSection, OptimSection, Section
from medproof.training.watch_recipe import WatchedRecipe


class PolicyModel(ModelSection):
    """The model that is trained, and at its first step the reference: nano, a folder or a hub id."""

    init: str

    @field_validator("init")
    @classmethod
    def _trained(cls, value: str) -> str:
        if value == "fresh-nano":
            raise ValueError("random weights earn no reward: start from nano, a folder or a hub id")
        return value


class GrpoOptim(OptimSection):
    """As in sft, with GRPO's defaults. `steps` counts optimizer steps, `batch_size` the groups of one of them."""

    lr: float = Field(default=1e-6, gt=0)
    warmup_steps: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    steps: int = Field(default=500, ge=1)
    batch_size: int = Field(default=8, ge=1, description="groups per optimizer step, over all processes")


class GrpoSection(Section):
    """Sampling and loss. One generation cycle samples `steps_per_generation` batches and takes
    `num_iterations * steps_per_generation` optimizer steps on them."""

    num_generations: int = Field(default=8, description="G, completions per prompt")
    max_completion_length: int = Field(default=256, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0, description="0: all tokens")
    beta: float = Field(default=0.0, ge=0, description="weight of the KL to the initial model; 0: no reference at all")
    epsilon: float = Field(default=0.2, ge=0, lt=1)
    epsilon_high: float | None = Field(default=None, ge=0, description="upper clipping range; None: epsilon")
    loss_type: Literal["grpo", "dr_grpo", "dapo", "gspo"] = "dapo"
    scale_rewards: Literal["group", "batch", "none"] = "group"
    num_iterations: int = Field(default=1, ge=1)
    steps_per_generation: int = Field(default=1, ge=1)
    mask_truncated_completions: bool = False
    engine: Literal["local", "vllm"] = "local"

    @field_validator("num_generations")
    @classmethod
    def _a_group(cls, value: int) -> int:
        if value < 2:
            raise ValueError(f"a group of {value} has no advantage to learn from: use 2 or more")
        return value


class RewardSpec(Section):
    """A built-in reward or `path.py:function`; written as its name alone it weighs 1."""

    name: str
    weight: float = 1.0
    args: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class CompletionsSection(Section):
    """Every `every` steps (0: never) the first `groups` groups of the batch go to OUT/completions."""

    every: int = Field(default=0, ge=0)
    groups: int = Field(default=4, ge=1)


class GrpoRecipe(WatchedRecipe):
    """A whole run of GRPO."""

    kind: Literal["grpo"] = "grpo"
    name: str = "grpo"
    model: PolicyModel
    optim: GrpoOptim = GrpoOptim()
    grpo: GrpoSection = GrpoSection()
    rewards: tuple[RewardSpec, ...] = Field(default=(RewardSpec(name="accuracy"), RewardSpec(name="format")))
    completions: CompletionsSection = CompletionsSection()

    @field_validator("rewards")
    @classmethod
    def _some_reward(cls, value: tuple[RewardSpec, ...]) -> tuple[RewardSpec, ...]:
        if not value:
            raise ValueError("name at least one reward, as in [accuracy, format]")
        if len({spec.name for spec in value}) < len(value):
            raise ValueError("a reward is named twice: give it once, with its weight")
        return value

    @model_validator(mode="after")
    def _attack_can_be_served(self) -> GrpoRecipe:
        if self.adversarial is not None:
            self.adversarial.check_for_grpo(beta=self.grpo.beta)
            if self.adversarial.kind == "noise" and self.grpo.engine == "vllm":
                raise ValueError("engine vllm rounds images to 8 bits, which noise must not be: set grpo.engine: local")
        return self

    @property
    def cycle(self) -> int:
        """Optimizer steps per generation."""
        return self.grpo.num_iterations * self.grpo.steps_per_generation
