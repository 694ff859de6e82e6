"""The `adversarial:` section of a recipe: what is done to training images, and which terms see it. No torch."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from medproof.conditions.parameters import WHITE, l2_eps, linf_eps
from medproof.errors import UserError
from medproof.training.sections import Section

Shown = Literal["attacked", "clean"]
_OF_ROLLOUTS = ("mix", "rollout", "old", "reference")
"""Settings without meaning in supervised fine-tuning."""


class Ball(Section):
    """A norm ball around the 8-bit image. eps: k/255 for linf, a length in [0, 1] pixels for l2, 0 for none."""

    norm: Literal["linf", "l2"] = "linf"
    eps: str | None = None

    @field_validator("eps", mode="before")
    @classmethod
    def _exact(cls, value: Any, info: ValidationInfo) -> str | None:
        return None if value is None else _canonical(str(value), str(info.data.get("norm")))


class AdversarialSection(Ball):
    """Adversarial training (AT-SFT, AT-GRPO). docs/adversarial_training.md gives the reasons for the defaults.

    One perturbation per image, shared by the completions of its group. The image is attacked once per generation cycle
    (sft: per step) with the weights of that moment.

    kind: `pgd`, an attack within eps of `norm`; or `noise`, Gaussian of standard deviation `sigma`, fresh in every
    rollout, float, not clipped, which needs none of the attack's settings.
    objective, which pgd raises: `answer`: the loss of the right answer's text (think: with the annotated rationale).
    `margin`: best wrong option - right one, at the slot that opens the reply. `kl`: divergence of the prediction of the
    answer's text from that on the clean image. `policy`: GRPO's loss on the group's own completions.
    rollout, old, reference, policy: which image the replies are sampled from, and on which each of the loss's terms is
    computed. Of these sft has `policy` only.
    """

    kind: Literal["pgd", "noise"] = "pgd"
    sigma: float | None = Field(default=None, gt=0, le=1, description="of kind noise, in [0, 1] pixels")
    ramp_steps: int = Field(default=0, ge=0, description="optimizer steps in which eps (or sigma) grows from 0")
    steps: int = Field(default=3, ge=1, description="gradient steps of the attack")
    rule: Literal["constant", "cosine", "momentum"] = "constant"
    step_size: float | None = Field(
        default=None, gt=0, description="in eps; None: the rule's own, constant 2.5 / steps"
    )
    start: Literal["clean", "random", "warm"] = Field(
        default="random", description="warm: where the item's last attack ended, random at first"
    )
    objective: Literal["answer", "margin", "policy", "kl"] = "answer"
    share: float = Field(default=1.0, ge=0, le=1, description="of groups (or rollouts, examples) that are attacked")
    mix: Literal["groups", "rollouts"] = Field(default="groups", description="what `share` is a share of")
    trades: float = Field(
        default=0.0, ge=0, description="weight of KL(prediction on the clean image || on the attacked one) per token"
    )
    rollout: Shown = "attacked"
    old: Shown = "attacked"
    reference: Shown = "clean"
    policy: Shown = "attacked"

    @model_validator(mode="after")
    def _can_be_served(self) -> AdversarialSection:
        if self.kind == "noise":
            if self.sigma is None:
                raise ValueError("kind noise needs sigma, as in sigma: 0.25")
        elif self.eps is None:
            raise ValueError("kind pgd needs eps, as in eps: 8/255")
        elif self.objective == "kl" and self.start == "clean":
            raise ValueError("objective kl has no gradient at the clean image: use start random or warm")
        if self.kind == "pgd" and self.step_size is not None and self.rule == "cosine":
            raise ValueError("rule cosine has its own step sizes: take step_size out, or use rule constant")
        if self.kind == "pgd" and self.objective == "policy" and self.rollout == "attacked":
            raise ValueError(
                "objective policy attacks completions that exist already: sample them from the clean image, with "
                "rollout: clean"
            )
        if self.mix == "rollouts" and self.rollout == "clean":
            raise ValueError(
                "mix rollouts samples a share of each group from the attacked image: set rollout: attacked"
            )
        return self

    def check_for_grpo(self, *, beta: float) -> None:
        """Raises ValueError where no term would see the attacked image."""
        seen = {self.rollout, self.policy} | ({self.reference} if beta > 0 else set())
        if "attacked" not in seen and not self.trades:
            raise ValueError(
                "nothing is shown the attacked image: set adversarial.rollout or .policy to attacked, or give .trades"
            )

    def check_for_sft(self) -> None:
        """Raises ValueError for what only GRPO has."""
        if self.kind == "pgd" and self.objective == "policy":
            raise ValueError(
                "adversarial.objective policy needs completions with rewards, which sft has not: use answer"
            )
        for name in _OF_ROLLOUTS:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"adversarial.{name} is a setting of kind grpo: sft samples nothing, take it out")
        if self.policy == "clean" and not self.trades:
            raise ValueError(
                "nothing is shown the attacked image: set adversarial.policy to attacked, or .trades above 0"
            )

    def eps_at(self, step: int) -> Fraction:
        """The radius at optimizer step `step` (from 0); for linf a whole number of grey levels."""
        scaled = Fraction(self.eps or 0) * self._ramp(step)
        return Fraction(round(scaled * WHITE), WHITE) if self.norm == "linf" else scaled

    def sigma_at(self, step: int) -> float:
        """The noise at optimizer step `step` (from 0)."""
        return float((self.sigma or 0.0) * self._ramp(step))

    def is_on_at(self, step: int) -> bool:
        """Whether images may differ from the clean ones at this step."""
        size = self.eps_at(step) if self.kind == "pgd" else self.sigma_at(step)
        return size > 0 and self.share > 0

    def _ramp(self, step: int) -> Fraction:
        return min(Fraction(1), Fraction(step, self.ramp_steps)) if self.ramp_steps else Fraction(1)


class WatchAttack(Ball):
    """The attack of `watch`: PGD on the option margin behind the model's own reply, judged by the decoded reply.

    norm, eps: those of the training attack where eps is None. steps: None for twice the training attack's and at
    least 10. restarts: on items that no restart before has fooled.
    """

    steps: int | None = Field(default=None, ge=1)
    restarts: int = Field(default=1, ge=1)

    def against(self, training: AdversarialSection | None) -> WatchAttack | None:
        """With norm, eps and steps filled in; None where there is nothing to attack with."""
        steps = self.steps or max(10, 2 * training.steps if training is not None else 0)
        if self.eps is not None:
            return self.model_copy(update={"steps": steps})
        if training is None or training.kind != "pgd" or training.eps is None:
            return None
        return WatchAttack(norm=training.norm, eps=training.eps, steps=steps, restarts=self.restarts)


def _canonical(text: str, norm: str) -> str:
    if norm == "l2" and text in ("0", "0.0"):
        return "0"
    try:
        return l2_eps(text, {}) if norm == "l2" else linf_eps(text, {})
    except UserError as error:
        raise ValueError(str(error)) from error
