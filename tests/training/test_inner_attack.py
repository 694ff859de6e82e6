"""The inner attack: it raises what it is to raise, stays in the ball, and leaves no trace in the trainer."""

import random
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from grpo_groups import random_groups
from rollout_cases import make_prompts

from medproof import models
from medproof.attacks.threat import ThreatModel
from medproof.errors import UserError
from medproof.images.preprocess import to_float
from medproof.models.qwen_vl import QwenVL
from medproof.training.attack_objectives import Answer, Divergence, Margin, Objective, Policy
from medproof.training.groups import Group, Images, Prompt
from medproof.training.inner_attack import Found, InnerAttack, step_rule
from medproof.training.policy_loss import PolicySettings
from medproof.training.prefix_rows import collate_groups
from tiny_families import SIZES, save_family

STEPS = 3
SIZE = SIZES["qwen2_vl"]
BALLS = [ThreatModel("linf", Fraction(8, 255)), ThreatModel("l2", Fraction(3, 2))]


@pytest.fixture
def model(tiny_model: Path) -> QwenVL:
    """Trainable, as in training: all weights require gradients, in training mode."""
    loaded = models.load(str(tiny_model), device="cpu")
    assert isinstance(loaded, QwenVL)
    loaded.net.train().requires_grad_(True)
    return loaded


@pytest.fixture
def prompts(model: QwenVL) -> list[Prompt]:
    return make_prompts(model, [SIZE[0], SIZE[1], SIZE[0], SIZE[1], SIZE[0]])


def groups_of(model: QwenVL) -> list[Group]:
    return random_groups(model, [SIZE[0], SIZE[1]], [(3, 5), (2, 1)])


def objective_of(name: str, model: QwenVL, prompts: list[Prompt]) -> tuple[list[Prompt], "partial[Objective]"]:
    """The prompts that are attacked, and the objective of a slice of them."""
    if name == "policy":
        groups = groups_of(model)
        advantages = torch.tensor([[1.0, -1.0], [-0.5, 0.5]])
        settings = PolicySettings("dapo", 8)

        def policy(part: slice) -> Objective:
            kept = torch.ones(advantages[part].shape, dtype=torch.bool)
            return Policy(groups[part], advantages[part], kept, settings, 1.0, ())

        return [group.prompt for group in groups], partial(policy)
    kind = {"answer": Answer, "margin": Margin, "kl": Divergence}[name]
    return prompts, partial(lambda part: kind(model.chat, prompts[part]))


def attack(
    model: QwenVL, prompts: list[Prompt], objective: "partial[Objective]", threat: ThreatModel, at_once: int = 32
) -> Found:
    clean = [to_float(prompt.image) for prompt in prompts]
    starts = [threat.random_start(image, prompt.seed) for image, prompt in zip(clean, prompts)]
    inner = InnerAttack(model.net, model.chat, model.grid, at_once=at_once)
    return inner(objective, clean, starts, threat, step_rule(threat, "constant", STEPS), STEPS)


@torch.no_grad()
def value(
    model: QwenVL, prompts: list[Prompt], objective: "partial[Objective]", images: list[torch.Tensor]
) -> torch.Tensor:
    """[B] the objective of images, prepared on the clean ones."""
    model.net.eval()
    whole = objective(slice(None))

    def rows(pixels: list[torch.Tensor]) -> object:
        shown = Images(tuple(pixels), tuple(range(len(pixels))))
        return collate_groups(model.chat, model.grid, whole.groups, shown, 0, whole.layout)

    whole.prepare(model.net, rows([to_float(prompt.image) for prompt in prompts]))
    return whole(model.net, rows(images))


@pytest.mark.parametrize("threat", BALLS, ids=["linf", "l2"])
@pytest.mark.parametrize("name", ["answer", "margin", "kl"])
def test_the_objective_rises_far_above_that_of_noise(
    model: QwenVL, prompts: list[Prompt], name: str, threat: ThreatModel
) -> None:
    """Of every image; more than the random start, which is as large, moves it."""
    prompts, objective = objective_of(name, model, prompts)
    found = attack(model, prompts, objective, threat)
    clean = [to_float(prompt.image) for prompt in prompts]
    noise = [threat.random_start(image, prompt.seed) for image, prompt in zip(clean, prompts)]
    before, after, random_ = (value(model, prompts, objective, images) for images in (clean, found.images, noise))
    assert bool((after > before).all())
    assert float((after - before).mean()) > 3 * float((random_ - before).abs().mean())
    assert found.flat == [False] * len(prompts)


def test_policy_makes_good_completions_unlikely_and_bad_ones_likely(model: QwenVL, prompts: list[Prompt]) -> None:
    prompts, objective = objective_of("policy", model, prompts)
    found = attack(model, prompts, objective, BALLS[0])
    groups = groups_of(model)
    advantages = torch.tensor([[1.0, -1.0], [-0.5, 0.5]])

    def likely(images: list[torch.Tensor]) -> torch.Tensor:
        from medproof.training.logprobs import GroupLogprobs

        shown = Images(tuple(images), tuple(range(len(images))))
        with torch.no_grad():
            return (
                GroupLogprobs(model.net).eval()(collate_groups(model.chat, model.grid, groups, shown, 0)).logps.sum(-1)
            )

    gain = ((likely(found.images) - likely([to_float(p.image) for p in prompts])) * advantages).sum(-1)
    assert bool((gain < -1e-4).all())


def test_policy_without_advantages_has_no_gradient_and_says_so(model: QwenVL, prompts: list[Prompt]) -> None:
    groups = groups_of(model)

    def nothing(part: slice) -> Objective:
        shape = (len(groups[part]), 2)
        kept = torch.ones(shape, dtype=torch.bool)
        return Policy(groups[part], torch.zeros(shape), kept, PolicySettings("grpo", 8), 1.0, ())

    assert attack(model, [group.prompt for group in groups], partial(nothing), BALLS[0]).flat == [True, True]


@pytest.mark.parametrize("threat", BALLS, ids=["linf", "l2"])
def test_images_are_8_bit_in_the_ball(model: QwenVL, prompts: list[Prompt], threat: ThreatModel) -> None:
    prompts, objective = objective_of("answer", model, prompts)
    for prompt, image in zip(prompts, attack(model, prompts, objective, threat).images, strict=True):
        clean = to_float(prompt.image)
        assert threat.contains(image, clean)  # raises for an image that is not 8-bit
        assert threat.distance(image, clean) > threat.budget / 2
        assert image.device.type == "cpu"


def test_eps_0_is_the_clean_image(model: QwenVL, prompts: list[Prompt]) -> None:
    prompts, objective = objective_of("answer", model, prompts)
    found = attack(model, prompts, objective, ThreatModel("linf", Fraction(0)))
    assert all(torch.equal(image, to_float(prompt.image)) for image, prompt in zip(found.images, prompts, strict=True))


@pytest.mark.parametrize("name", ["answer", "margin", "kl"])
def test_an_image_does_not_depend_on_its_batch(model: QwenVL, prompts: list[Prompt], name: str) -> None:
    """Alone, in pairs, with all others. Gradients within float error of 0 may turn their sign: 1 value in 200."""
    prompts, objective = objective_of(name, model, prompts)
    together = attack(model, prompts, objective, BALLS[0]).images
    for at_once in (1, 2):
        apart = attack(model, prompts, objective, BALLS[0], at_once=at_once).images
        for one, other in zip(together, apart, strict=True):
            assert float((one != other).float().mean()) < 0.005
    again = attack(model, prompts, objective, BALLS[0]).images
    assert all(torch.equal(one, other) for one, other in zip(together, again, strict=True))


def leaves_of(loss: torch.Tensor) -> list[torch.Tensor]:
    """Tensors whose gradients a backward pass would add up."""
    found, todo, seen = [], [loss.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        found += [node.variable] if hasattr(node, "variable") else []
        todo += [below for below, _ in node.next_functions]
    return found


def test_weights_get_no_gradient_and_are_in_no_graph(model: QwenVL, prompts: list[Prompt]) -> None:
    graphs: list[list[torch.Tensor]] = []

    class Spy(Answer):
        def __call__(self, net: object, batch: object) -> torch.Tensor:
            loss = super().__call__(net, batch)
            graphs.append(leaves_of(loss))
            return loss

    attack(model, prompts, partial(lambda part: Spy(model.chat, prompts[part])), BALLS[0])
    assert len(graphs) == STEPS
    for leaves in graphs:
        assert leaves
        assert all(leaf.ndim == 4 and leaf.shape[1] == 3 for leaf in leaves)  # images only
    assert all(weight.grad is None for weight in model.net.parameters())
    assert all(weight.requires_grad for weight in model.net.parameters())


def test_frozen_weights_stay_frozen(model: QwenVL, prompts: list[Prompt]) -> None:
    frozen = next(model.net.parameters()).requires_grad_(False)
    attack(model, *objective_of("answer", model, prompts), BALLS[0])
    assert [weight is frozen for weight in model.net.parameters() if not weight.requires_grad] == [True]


def test_modes_and_random_states_stay_as_they_are(model: QwenVL, prompts: list[Prompt]) -> None:
    """Some modules train, one does not; while the attack runs all evaluate."""
    next(iter(model.net.model.language_model.layers)).eval()
    before = [module.training for module in model.net.modules()]
    during: set[bool] = set()
    model.net.model.language_model.register_forward_pre_hook(
        lambda *_: during.update(module.training for module in model.net.modules())
    )
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    attack(model, *objective_of("answer", model, prompts), BALLS[0])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]
    assert during == {False}
    assert [module.training for module in model.net.modules()] == before
    assert any(before)
    assert not all(before)


def test_autocast_attacks_as_well(model: QwenVL, prompts: list[Prompt]) -> None:
    prompts, objective = objective_of("answer", model, prompts)
    threat = BALLS[0]
    clean = [to_float(prompt.image) for prompt in prompts]
    inner = InnerAttack(model.net, model.chat, model.grid, autocast=torch.bfloat16)
    found = inner(objective, clean, clean, threat, step_rule(threat, "constant", STEPS), STEPS)
    assert all(threat.contains(image, own) for image, own in zip(found.images, clean, strict=True))
    assert bool((value(model, prompts, objective, found.images) > value(model, prompts, objective, clean)).all())


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_other_families(family: str, model: QwenVL, tmp_path: Path) -> None:
    save_family(family, tmp_path, model.chat.tokenizer)
    other = models.load(str(tmp_path), device="cpu")
    assert isinstance(other, QwenVL)
    prompts = make_prompts(other, SIZES[family])
    prompts, objective = objective_of("answer", other, prompts)
    found = attack(other, prompts, objective, BALLS[0])
    clean = [to_float(prompt.image) for prompt in prompts]
    assert bool((value(other, prompts, objective, found.images) > value(other, prompts, objective, clean)).all())


def test_checkpointed_activations_do_no_harm_unless_reentrant(model: QwenVL, prompts: list[Prompt]) -> None:
    plain = attack(model, *objective_of("answer", model, prompts), BALLS[0]).images
    model.net.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    found = attack(model, *objective_of("answer", model, prompts), BALLS[0])
    assert found.flat == [False] * len(prompts)
    assert all(torch.equal(one, other) for one, other in zip(plain, found.images, strict=True))
    model.net.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    with pytest.raises(UserError, match=r"reentrant gradient checkpointing.*model\.gradient_checkpointing") as caught:
        attack(model, *objective_of("answer", model, prompts), BALLS[0])
    assert "\n" not in str(caught.value)


def test_a_model_without_a_way_back_to_its_pixels_is_refused(model: QwenVL, prompts: list[Prompt]) -> None:
    features = model.net.model.get_image_features

    def detached(pixel_values: torch.Tensor, *args: object, **kwargs: object) -> object:
        return features(pixel_values.detach(), *args, **kwargs)

    model.net.model.get_image_features = detached
    with pytest.raises(UserError, match="has no gradient in the pixels") as caught:
        attack(model, *objective_of("answer", model, prompts), BALLS[0])
    assert "\n" not in str(caught.value)
    assert all(weight.requires_grad for weight in model.net.parameters())


def test_step_sizes_are_in_eps() -> None:
    threat = ThreatModel("linf", Fraction(4, 255))
    rules = [step_rule(threat, "constant", 10, size)() for size in (0.25, 1.0)]
    assert [rule.size(4 / 255, 7, 10) for rule in rules] == pytest.approx([1 / 255, 4 / 255])
