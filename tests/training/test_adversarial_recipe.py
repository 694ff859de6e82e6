"""The `adversarial` section: exact radii, ramps, and one line for everything that cannot be served."""

from fractions import Fraction
from pathlib import Path

import pytest

from medproof.errors import UserError
from medproof.training.adversarial_recipe import AdversarialSection, WatchAttack
from medproof.training.recipe import load_recipe

GRPO, SFT = "kind: grpo\nmodel: {init: nano}\n", "kind: sft\n"


def load(tmp_path: Path, text: str, *overrides: str) -> AdversarialSection:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    section = load_recipe(path, list(overrides)).adversarial
    assert section is not None
    return section


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (GRPO, ["adversarial.eps=0.03"], "0.03 is between 7/255 and 8/255: say which"),
        (SFT, ["adversarial.eps=0.0314"], "0.0314 is between 8/255 and 9/255: say which"),
        (GRPO, ["adversarial={eps: 300/255}"], "outside 0/255 to 255/255"),
        (GRPO, ["adversarial={eps: much}"], "no number"),
        (GRPO, ["adversarial={norm: l2, eps: -1}"], "must be above 0"),
        (GRPO, ["adversarial={}"], "kind pgd needs eps, as in eps: 8/255"),
        (GRPO, ["adversarial={kind: noise}"], "kind noise needs sigma"),
        (GRPO, ["adversarial={epz: 8/255}"], "did you mean 'eps'?"),
        (GRPO, ["adversarial={eps: 8/255, objective: policy}"], "with rollout: clean"),
        (SFT, ["adversarial={eps: 8/255, objective: policy, rollout: clean}"], "which sft has not"),
        (SFT, ["adversarial={eps: 8/255, mix: rollouts}"], "adversarial.mix is a setting of kind grpo"),
        (SFT, ["adversarial={eps: 8/255, reference: attacked}"], "adversarial.reference is a setting of kind grpo"),
        (SFT, ["adversarial={eps: 8/255, policy: clean}"], "nothing is shown the attacked image"),
        (GRPO, ["adversarial={eps: 8/255, policy: clean, rollout: clean}"], "nothing is shown the attacked image"),
        (GRPO, ["adversarial={eps: 8/255, mix: rollouts, rollout: clean}"], "set rollout: attacked"),
        (GRPO, ["adversarial={eps: 8/255, objective: kl, start: clean}"], "no gradient at the clean image"),
        (GRPO, ["adversarial={eps: 8/255, rule: cosine, step_size: 0.5}"], "cosine has its own step sizes"),
        (GRPO, ["adversarial={kind: noise, sigma: 0.1}", "grpo.engine=vllm"], "set grpo.engine: local"),
        (GRPO, ["watch={every: 5, attack: {eps: 0.03}}"], "between 7/255 and 8/255"),
        (GRPO, ["watch.stop_when_blind=0.05"], "stop_when_blind needs watch.every"),
        (SFT, ["checkpoint.keep_best=eval/robust_accuracy"], "needs watch.every"),
    ],
)
def test_what_cannot_be_served_is_one_line(tmp_path: Path, text: str, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, text, *overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_radii_are_exact_in_either_norm(tmp_path: Path) -> None:
    assert load(tmp_path, GRPO, "adversarial.eps=8/255").eps_at(0) == Fraction(8, 255)
    assert load(tmp_path, SFT, "adversarial.eps=16/510").eps == "8/255"
    assert load(tmp_path, SFT, "adversarial={norm: l2, eps: 0.5}").eps_at(9) == Fraction(1, 2)
    for off in ("{eps: 0}", "{eps: 0/255}", "{norm: l2, eps: 0}", "{eps: 8/255, share: 0}"):
        assert not load(tmp_path, GRPO, f"adversarial={off}").is_on_at(1000)


def test_a_ramp_grows_from_nothing_in_whole_grey_levels() -> None:
    section = AdversarialSection(eps="4/255", ramp_steps=8)
    assert [int(section.eps_at(step) * 255) for step in range(11)] == [0, 0, 1, 2, 2, 2, 3, 4, 4, 4, 4]
    assert not section.is_on_at(0)
    assert section.is_on_at(8)
    assert AdversarialSection(norm="l2", eps="2", ramp_steps=8).eps_at(2) == Fraction(1, 2)
    assert AdversarialSection(kind="noise", sigma=0.25, ramp_steps=2).sigma_at(1) == 0.125


def test_every_setting_of_what_is_shown_has_a_default(tmp_path: Path) -> None:
    section = load(tmp_path, GRPO, "adversarial.eps=8/255")
    assert (section.rollout, section.old, section.reference, section.policy) == (
        "attacked",
        "attacked",
        "clean",
        "attacked",
    )
    assert (section.objective, section.mix, section.share, section.trades) == ("answer", "groups", 1.0, 0.0)


def test_the_watched_attack_is_stronger_than_the_training_one() -> None:
    def steps(training: int, own: int | None = None) -> int | None:
        how = WatchAttack(steps=own).against(AdversarialSection(eps="8/255", steps=training))
        assert how is not None
        assert (how.norm, how.eps) == ("linf", "8/255")
        return how.steps

    assert [steps(3), steps(7), steps(3, 40)] == [10, 14, 40]
    alone = WatchAttack(norm="l2", eps="0.5").against(None)
    assert alone is not None
    assert (alone.norm, alone.eps, alone.steps) == ("l2", "0.5", 10)
    assert WatchAttack().against(None) is None
    assert WatchAttack().against(AdversarialSection(kind="noise", sigma=0.25)) is None


def test_no_torch_is_needed_to_read_a_recipe() -> None:
    import subprocess
    import sys

    code = "import sys, medproof.training.recipe; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
