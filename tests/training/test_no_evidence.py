"""Examples without evidence: what they show, what is learnt from them, and that no attack touches them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from grpo_runs import changed, rows
from reward_groups import make_group, make_item

from medproof import models
from medproof.errors import UserError
from medproof.models.nano import GRID
from medproof.models.prompts import target_text
from medproof.models.qwen_vl import QwenVL
from medproof.records import MODES, Box, Evidence, Item, Mode
from medproof.scoring.parse import parse
from medproof.training import grpo, sft
from medproof.training.adversarial_recipe import AdversarialSection
from medproof.training.adversary import Adversary
from medproof.training.examples import Example, ExampleStream
from medproof.training.grpo_recipe import GrpoRecipe
from medproof.training.inner_attack import InnerAttack
from medproof.training.no_evidence import without_evidence
from medproof.training.prompt_stream import make_prompt
from medproof.training.recipe import Recipe
from medproof.training.rewards import Reward, RewardSet, load_reward
from medproof.training.targets import collate, make_target

ITEMS = [make_item().model_copy(update={"id": f"i{number}", "case": f"i{number}"}) for number in range(20)]
PIXELS = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


def examples(share: float, count: int = 400) -> list[Example]:
    recipe = Recipe.model_validate({"data": {"no_evidence": share, "augment": {"crop": 0.1, "gain": 0.2}}})
    stream = ExampleStream(lambda _: ITEMS, lambda _: PIXELS, GRID, recipe)
    return [stream.example(index) for index in range(count)]


def test_the_share_is_kept_and_every_other_draw_stays_as_it_is() -> None:
    plain, mixed = examples(0), examples(0.2)
    assert not any(example.empty for example in plain)
    assert 0.12 < np.mean([example.empty for example in mixed]) < 0.28
    for before, after in zip(plain, mixed, strict=True):
        assert (before.item, before.mode, before.asked) == (after.item, after.mode, after.asked)
        assert before.image.shape == after.image.shape
        assert np.array_equal(before.image, after.image) != after.empty


def test_the_images_are_many_and_hold_nothing_of_the_item() -> None:
    images = [without_evidence((84, 112, 3), np.random.default_rng(seed)) for seed in range(200)]
    assert all(image.shape == (84, 112, 3) and image.dtype == np.uint8 for image in images)
    levels = np.array([image.mean() for image in images])
    spread = np.array([image.std() for image in images])
    assert levels.min() < 40
    assert levels.max() > 215
    assert (spread == 0).any(), "flat ones are among them"
    assert (spread > 40).any(), "and loud ones"
    np.testing.assert_array_equal(images[7], without_evidence((84, 112, 3), np.random.default_rng(7)))


@pytest.fixture
def model(tiny_model: Path) -> QwenVL:
    loaded = models.load(str(tiny_model), device="cpu")
    assert isinstance(loaded, QwenVL)
    return loaded


@pytest.mark.parametrize("mode", MODES)
def test_the_target_is_a_refusal_for_the_parser_and_its_tokens_weigh(model: QwenVL, mode: Mode) -> None:
    item = ITEMS[0]
    text = target_text(item, mode, empty=True)
    assert parse(text, item.options, mode).status == "abstain"
    assert item.answer not in text
    image = np.zeros((56, 56, 3), np.uint8)
    refusal = make_target(model.chat, model.grid, Example(item, mode, image, empty=True), 12.0)
    letter = make_target(model.chat, model.grid, Example(item, mode, image), 12.0)
    assert refusal.prompt == letter.prompt
    assert model.chat.decode(refusal.reply) == text
    heavy = [i for i, weight in zip(refusal.reply, refusal.weights, strict=True) if weight == 12.0]
    assert model.chat.decode(heavy) == "unsure", "else a small model learns to begin the word and not to spell it"
    slot = model.chat.answer_slot(item.letters)
    if mode == "direct":
        assert refusal.weights.index(12.0) == letter.weights.index(12.0) == len(slot.context)
        assert refusal.reply[len(slot.context)] not in slot.letters


def test_a_batch_teaches_each_example_its_own(model: QwenVL) -> None:
    image = np.zeros((56, 56, 3), np.uint8)
    two = [Example(ITEMS[0], "direct", image, empty=empty) for empty in (False, True)]
    batch = collate(model.chat, model.grid, two, 12.0, 0)
    told = [model.chat.decode([i for i in row.tolist() if i >= 0]) for row in batch.labels]
    assert told == [target_text(ITEMS[0], "direct"), target_text(ITEMS[0], "direct", empty=True)]


def test_a_refusal_that_begins_as_a_letter_is_refused(model: QwenVL, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = Example(ITEMS[0], "direct", np.zeros((56, 56, 3), np.uint8), empty=True)
    for module in ("models.prompts", "training.targets"):
        monkeypatch.setattr(f"medproof.{module}.REFUSAL", "A")
    with pytest.raises(
        UserError, match=r"data.no_evidence: the tokenizer of .* begins a refusal as it writes a letter"
    ):
        make_target(model.chat, model.grid, empty, 12.0)


def reward(name: str, texts: list[str], empty: bool, mode: Mode = "direct", item: Item | None = None) -> list[float]:
    group = make_group(texts, item, mode)
    own = replace(group, prompt=replace(group.prompt, empty=empty))
    probs = {"option_probs": [[0.8, 0.1, 0.1]] * len(texts), "option_probs_blank": [[0.1, 0.8, 0.1]] * len(texts)}
    values: list[float] = RewardSet([load_reward(name)]).score([own], probs).rewards[0, :, 0].tolist()
    return values


def test_where_nothing_is_shown_a_refusal_earns_and_the_right_letter_does_not() -> None:
    texts = ["<answer>B</answer>", "<answer>unsure</answer>", "<answer>A</answer>", "what?"]
    assert reward("accuracy", texts, empty=False) == [1, 0, 0, 0]
    assert reward("accuracy", texts, empty=True) == [0, 1, 0, 0]
    assert reward("format", texts, empty=True) == [1, 1, 1, 0]


REPLY = (
    "<think>modality: Ultrasound. So the answer is benign lesion. This is ultrasound. "
    "<box>0 0 500 500</box></think><answer>A</answer>"
)
SEEN = make_item(
    facts={"modality": "ultrasound", "steps": "modality: Ultrasound. So the answer is B."},
    evidence=Evidence(boxes=(Box(label="lesion", xyxy=(0, 0, 14, 14)),)),
    width=28,
    height=28,
)


@pytest.mark.parametrize("name", ["looks", "points", "steps", "supported"])
def test_rewards_of_what_is_seen_do_not_apply_there(name: str) -> None:
    assert reward(name, [REPLY], empty=False, mode="think", item=SEEN)[0] > 0
    assert np.isnan(reward(name, [REPLY], empty=True, mode="think", item=SEEN)).all()


def test_a_function_of_yours_is_asked_there_if_it_says_so() -> None:
    asked: list[int] = []

    def own(prompts: Any, completions: Any, completion_ids: Any = None, **_: Any) -> list[float]:
        asked.append(len(completions))
        return [0.5] * len(completions)

    groups = [
        replace(g, prompt=replace(g.prompt, empty=empty))
        for g, empty in ((make_group(["a", "b"]), False), (make_group(["c", "d"]), True))
    ]
    scored = RewardSet([Reward("own", own)]).score(groups).rewards[..., 0]
    assert scored[0].tolist() == [0.5, 0.5]
    assert scored[1].isnan().all()
    assert RewardSet([Reward("own", own, judges_empty=True)]).score(groups).rewards[..., 0].tolist() == [[0.5, 0.5]] * 2
    assert RewardSet([Reward("own", own)]).score(groups[1:]).totals.isnan().all()
    assert asked == [2, 4], "it is not called where nothing is left to judge"


@pytest.mark.parametrize("mix", ["groups", "rollouts"])
@pytest.mark.parametrize("how", [{"eps": "8/255", "steps": 1}, {"kind": "noise", "sigma": 0.25}], ids=["pgd", "noise"])
def test_it_is_not_attacked(model: QwenVL, how: dict[str, Any], mix: str) -> None:
    section = AdversarialSection.model_validate(how | {"mix": mix, "share": 1.0})
    adversary = Adversary(section, InnerAttack(model.net, model.chat, model.grid, at_once=2))
    image = np.full((56, 56, 3), 90, np.uint8)
    prompts = [
        make_prompt(model.chat, model.grid, Example(item, "direct", image, empty=empty), 5)
        for item, empty in zip(ITEMS, (False, True, False), strict=False)
    ]
    found = adversary.perturb(prompts, 4, 10)
    assert found is not None
    assert [shown is None for shown in found.images] == [False, True, False]
    assert not found.attacked[1].any()
    assert adversary.perturb(prompts[1:2], 4, 10) is None


def test_both_trainings_run_with_it(recipe: Recipe, grpo_recipe: GrpoRecipe, tiny_model: Path, tmp_path: Path) -> None:
    content = recipe.model_dump(mode="json")
    content["model"]["init"] = str(tiny_model)
    content["data"]["no_evidence"] = 0.5
    content["optim"]["steps"] = 2
    content["adversarial"] = {"eps": "8/255", "steps": 1}
    sft.train(Recipe.model_validate(content), tmp_path / "sft", device="cpu")
    grpo.train(
        changed(grpo_recipe, data={"no_evidence": 0.5}, optim={"steps": 2}, rewards=["accuracy", "format"]),
        tmp_path / "grpo",
        device="cpu",
    )
    for name in ("sft", "grpo"):
        assert [torch.tensor(row["loss"]).isfinite().item() for row in rows(tmp_path / name)] == [True, True]


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_shares_are_below_one(share: float) -> None:
    with pytest.raises(ValueError, match="no_evidence"):
        Recipe.model_validate({"data": {"no_evidence": share}})
