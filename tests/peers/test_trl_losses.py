"""Losses, gradients, metrics and advantages equal TRL 1.16's: its own code where it is installed, else golden values.

`python tests/peers/test_trl_losses.py`, where TRL 1.16 is installed, writes the golden values anew.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from trl_cases import Case, cases, inputs, ours, projections, rewards
from trl_stub import trl_trainer

from medproof.training.advantages import ScaleRewards, group_advantages
from medproof.training.grpo_metrics import reward_metrics
from medproof.training.policy_loss import policy_metrics

GOLDEN = Path(__file__).with_name("trl_1_16_losses.json")
TOLERANCE = 1e-5
SCALES: tuple[ScaleRewards, ...] = ("group", "batch", "none")
WEIGHTS = (1.0, 0.5)


def trl_loss(case: Case, accumulation: int = 1) -> tuple[float, torch.Tensor, dict[str, list[float]]]:
    """(loss, gradient with respect to the log-probabilities, metrics) by GRPOTrainer._compute_loss."""
    given, settings = inputs(case), case.settings
    trainer = trl_trainer(
        accumulation,
        importance_sampling_level="sequence" if case.loss_type == "gspo" else "token",
        loss_type="grpo" if case.loss_type == "gspo" else case.loss_type,
        epsilon_low=settings.epsilon,
        epsilon_high=settings.epsilon_high,
        beta=settings.beta,
        max_completion_length=settings.max_completion_length,
    )
    logps = given.logps.clone().requires_grad_()
    total = 0.0
    for part in torch.arange(len(given.logps)).tensor_split(accumulation):
        rows = {
            "completion_ids": given.mask.long(),
            "completion_mask": given.mask.long(),
            "advantages": given.advantages,
            "old_per_token_logps": given.old,
            "ref_per_token_logps": given.ref,
        }
        batch = {name: value[part].flatten(0, 1) for name, value in rows.items() if value is not None}
        batch |= {"prompt_ids": batch["completion_ids"][:, :0], "prompt_mask": batch["completion_ids"][:, :0]}
        batch["num_items_in_batch"] = given.mask.sum()
        answer = (logps[part].flatten(0, 1), given.entropy[part].flatten(0, 1), None)
        trainer._get_per_token_logps_and_entropies = lambda *_, answer=answer, **__: answer
        loss = trainer._compute_loss(trainer.model, batch)
        loss.backward()
        total += loss.item()
    assert logps.grad is not None
    return total, logps.grad, trainer._metrics["train"]


def trl_advantages(values: torch.Tensor, scale: ScaleRewards, **attributes: Any) -> tuple[Any, dict[str, list[float]]]:
    """What GRPOTrainer._generate_and_score_completions makes of rewards [N, G, 2], and the metrics it logs."""
    trainer = trl_trainer(
        num_generations=values.shape[1],
        num_iterations=1,
        multi_objective_aggregation="sum_then_normalize",
        scale_rewards=scale,
        reward_weights=torch.tensor(WEIGHTS),
        reward_func_names=["a", "b"],
        environment_factories=None,
        environments=None,
        tools=None,
        beta=0.0,
        mask_truncated_completions=True,
        pad_to_multiple_of=None,
        eos_token_ids=[1],
        _tokenizer=SimpleNamespace(pad_token_id=0),
        _pending_extra_logs={},
        _pending_metrics={},
        **attributes,
    )
    count = values.shape[0] * values.shape[1]
    ids = [[5, 1] if i % 3 else [5, 6, 7] for i in range(count)]  # every third one is truncated
    trainer._generate = lambda prompts: ([[2]] * count, ids, None, ["x"] * count, None, {}, None, None)
    trainer._calculate_rewards = lambda *_: values.flatten(0, 1)
    return trainer._generate_and_score_completions([{"prompt": "q"}] * count), trainer._metrics["train"]


def golden() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_loss_and_gradient_are_the_golden_ones(case: Case) -> None:
    loss, gradient, _ = ours(case)
    expected = golden()["losses"][case.name]
    assert loss == pytest.approx(expected[0], abs=TOLERANCE)
    assert projections(gradient) == pytest.approx(expected[1:], abs=TOLERANCE)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
@pytest.mark.parametrize("accumulation", [1, 3])
def test_loss_and_gradient_are_trls(case: Case, accumulation: int) -> None:
    theirs, their_gradient, _ = trl_loss(case, accumulation)
    loss, gradient, _ = ours(case)
    assert loss == pytest.approx(theirs, abs=TOLERANCE)
    torch.testing.assert_close(gradient, their_gradient, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_metrics_are_trls(case: Case) -> None:
    logged = policy_metrics(ours(case)[2])
    for name, (value,) in trl_loss(case)[2].items():
        if not math.isnan(value):
            assert logged[name] == pytest.approx(value, abs=TOLERANCE), name


@pytest.mark.parametrize("g", range(1, 9))
@pytest.mark.parametrize("scale", SCALES)
def test_advantages_are_the_golden_ones(g: int, scale: ScaleRewards) -> None:
    expected = torch.tensor(golden()["advantages"][f"{scale}-G{g}"])
    torch.testing.assert_close(group_advantages(totals(g), scale), expected, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("g", range(1, 9))
@pytest.mark.parametrize("scale", SCALES)
def test_advantages_are_trls(g: int, scale: ScaleRewards) -> None:
    theirs = trl_advantages(rewards(g), scale)[0]["advantages"].view(-1, g)
    torch.testing.assert_close(group_advantages(totals(g), scale), theirs, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("g", range(2, 9))
def test_reward_metrics_are_trls(g: int) -> None:
    values = rewards(g)[:3]
    logged = reward_metrics(values, totals(g)[:3], ("a", "b"))
    for name, (value,) in trl_advantages(values, "group")[1].items():
        assert logged[name] == pytest.approx(value, abs=TOLERANCE), name


def test_trl_masks_truncated_completions_as_we_say() -> None:
    """Their rows are zeroed, and dapo's denominator counts the tokens that are left."""
    batch, _ = trl_advantages(rewards(3), "group")
    kept = batch["completion_mask"].sum(-1).tolist()
    assert kept == [2 if i % 3 else 0 for i in range(12)]
    assert batch["num_items_in_batch"].item() == sum(kept)


@pytest.mark.parametrize("loss_type", ["grpo", "dr_grpo", "dapo", "gspo"])
def test_the_cases_clip_on_both_sides(loss_type: Any) -> None:
    case = Case(loss_type, 8, 0.04, moved=True)
    metrics = policy_metrics(ours(case)[2])
    assert metrics["clip_ratio/low_mean"] > 0.02
    assert metrics["clip_ratio/high_mean"] > 0.02


def totals(g: int) -> torch.Tensor:
    """[4, g]: the weighed sum over what was judged, NaN where nothing was."""
    values = rewards(g)
    return (values * torch.tensor(WEIGHTS)).nansum(-1).masked_fill(values.isnan().all(-1), torch.nan)


def write() -> None:
    """The golden values, by TRL."""
    losses = {case.name: trl_loss(case)[:2] for case in cases()}
    tables = {
        "losses": {name: [loss, *projections(gradient)] for name, (loss, gradient) in losses.items()},
        "advantages": {
            f"{scale}-G{g}": trl_advantages(rewards(g), scale)[0]["advantages"].view(-1, g).tolist()
            for scale in SCALES
            for g in range(1, 9)
        },
    }
    lines = []
    for table, rows in tables.items():
        body = ",\n".join(f'  "{key}": {json.dumps(round_all(value))}' for key, value in rows.items())
        lines.append(f' "{table}": {{\n{body}\n }}')
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def round_all(value: Any) -> Any:
    return [round_all(part) for part in value] if isinstance(value, list) else round(value, 8)


if __name__ == "__main__":
    write()
