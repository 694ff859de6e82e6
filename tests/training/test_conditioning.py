"""Which completion sees which image."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from grpo_groups import random_groups
from rollout_cases import make_prompts, written

from medproof import models
from medproof.images.preprocess import to_float
from medproof.models.qwen_vl import QwenVL
from medproof.training.conditioning import Perturbed, rows_for, sample
from medproof.training.groups import Group, Images, Prompt
from medproof.training.logprobs import GroupLogprobs
from medproof.training.prefix_rows import collate_groups
from medproof.training.rollout.engine import Sampling
from medproof.training.rollout.local import LocalEngine
from tiny_families import SIZES

SIZE = SIZES["qwen2_vl"]
SIDES = torch.tensor([[False, False, False], [True, True, True], [False, True, True]])
"""Of three groups: clean, attacked, divided."""


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> QwenVL:
    loaded = models.load(str(tiny_model), device="cpu")
    assert isinstance(loaded, QwenVL)
    return loaded


@pytest.fixture(scope="module")
def groups(model: QwenVL) -> list[Group]:
    return random_groups(model, [SIZE[0], SIZE[1], SIZE[0]], [(3, 5, 1), (2, 1, 4), (4, 2, 3)])


def perturbed(prompts: Sequence[Prompt]) -> Perturbed:
    images = [None, *(1 - to_float(prompt.image) for prompt in prompts[1:])]
    return Perturbed(tuple(images), SIDES, torch.zeros(3))


def logps(model: QwenVL, groups: Sequence[Group], images: Images, **options: int) -> object:
    batch = collate_groups(model.chat, model.grid, groups, images, 0)
    with torch.no_grad():
        return GroupLogprobs(model.net).eval()(batch, **options)


@pytest.mark.parametrize("shown", ["attacked", "clean"])
@pytest.mark.parametrize("twins", [False, True])
def test_rows_give_each_completion_what_its_own_image_gives(
    model: QwenVL, groups: list[Group], shown: str, twins: bool
) -> None:
    own = perturbed([group.prompt for group in groups])
    rows = rows_for(groups, own, shown, twins=twins)
    clean = [to_float(group.prompt.image) for group in groups]
    other = [c if image is None else image for c, image in zip(clean, own.images, strict=True)]
    on_clean, on_other = (logps(model, groups, Images(tuple(p), (0, 1, 2))).logps for p in (clean, other))
    expected = torch.where(SIDES[..., None] & (shown == "attacked"), on_other, on_clean)
    found = logps(model, rows.groups, rows.images, twins=rows.twins, clean=1 if shown == "attacked" else 0)
    torch.testing.assert_close(rows.merge(found.logps, 3), expected, rtol=1e-4, atol=1e-5)
    assert rows.twins == (2 if twins else 0)
    if twins:
        divergence = rows.merge(found.divergence, 3)
        assert bool((divergence.sum(-1)[SIDES] > 0).all())
        assert bool((divergence[~SIDES] == 0).all())


def test_divergence_is_kl_of_the_clean_from_the_attacked_prediction(model: QwenVL, groups: list[Group]) -> None:
    """Whichever of both leads; against the whole distributions, one token at a time."""
    own = perturbed([group.prompt for group in groups])
    values = []
    for shown, clean in (("attacked", 1), ("clean", 0)):
        rows = rows_for(groups, own, shown, twins=True)
        found = logps(model, rows.groups, rows.images, twins=rows.twins, clean=clean)
        values.append(rows.merge(found.divergence, 3))
    torch.testing.assert_close(values[0], values[1], rtol=1e-3, atol=1e-6)
    from medproof.training.logprobs import completion_states

    group = groups[1]
    states = []
    for image in (to_float(group.prompt.image), own.images[1]):
        assert image is not None
        batch = collate_groups(model.chat, model.grid, [group], Images((image,), (0,)), 0)
        with torch.no_grad():
            states.append(model.net.lm_head(completion_states(model.net, batch)).double().log_softmax(-1))
    expected = (states[0].exp() * (states[0] - states[1])).sum(-1)
    found_here = values[0][1][values[0][1] != 0]
    torch.testing.assert_close(found_here.double(), expected, rtol=1e-3, atol=1e-6)


def test_without_perturbation_rows_are_the_groups(groups: list[Group]) -> None:
    for rows in (rows_for(groups, None, "attacked", twins=True), rows_for(groups, None, "clean")):
        assert rows.groups == tuple(groups)
        assert rows.images.of == (0, 1, 0)  # equal images once
        values = torch.ones(3, 3, 2)
        assert rows.merge(values, 3) is values


def test_replies_come_from_the_image_of_their_side(model: QwenVL) -> None:
    engine = LocalEngine(model.net, model.chat, model.grid)
    prompts = make_prompts(model, [SIZE[0], SIZE[1], SIZE[0]])
    own, sampling = perturbed(prompts), Sampling(3, 6)
    groups = sample(engine, prompts, own, "attacked", sampling)
    assert [group.prompt for group in groups] == prompts
    on_clean = engine.generate(prompts, Images.of_prompts(prompts), sampling)
    assert own.images[1] is not None
    (on_attacked,) = engine.generate(prompts[1:2], Images((own.images[1],), (0,)), sampling)
    ids = written(groups)
    assert ids[0] == written(on_clean)[0]
    assert ids[1] == written([on_attacked])[0]
    assert ids[2][:1] == written(on_clean)[2][:1]  # the clean side comes first and draws as ever
    assert len(ids[2]) == 3
    assert written(sample(engine, prompts, own, "clean", sampling)) == written(on_clean)
    assert written(sample(engine, prompts, None, "attacked", sampling)) == written(on_clean)


def test_selecting_only_clean_groups_leaves_nothing(groups: list[Group]) -> None:
    own = perturbed([group.prompt for group in groups])
    assert own.select([0]) is None
    part = own.select([2, 0])
    assert part is not None
    assert part.images == (own.images[2], None)
    assert torch.equal(part.attacked, SIDES[[2, 0]])


def test_numbers_are_measured_from_the_clean_image(groups: list[Group]) -> None:
    clean = [group.prompt.image for group in groups]
    images = [None, to_float(clean[1]) + 2 / 255, None]
    numbers = Perturbed(tuple(images), SIDES, torch.tensor([0.0, 1.0, 0.0])).numbers(clean)
    assert bool(numbers[[0, 2]].isnan().all())
    assert numbers[1].tolist() == pytest.approx([2.0, 2 / 255 * clean[1].size ** 0.5, 1.0], rel=1e-3)
