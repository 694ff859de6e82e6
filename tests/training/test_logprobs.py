"""Log-probabilities of groups against plain transformers, and the two layouts against each other."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from grpo_groups import collate, noise, random_groups
from peft import LoraConfig, get_peft_model
from rollout_cases import next_logits
from torch import nn
from transformers import AutoModelForImageTextToText

from medproof import models
from medproof.errors import UserError
from medproof.images.preprocess import patchify
from medproof.models.batch import Row, pad_rows
from medproof.models.loading import load_processor
from medproof.models.qwen_vl import QwenVL
from medproof.models.special_ids import vision_ids
from medproof.training.groups import Completion, Group, Images
from medproof.training.logprobs import GroupLogprobs, TokenLogprobs, reference_logprobs, token_logprobs
from medproof.training.prefix_rows import GroupBatch
from tiny_families import SIZES, VISION, save_family

LENGTHS = {1: [[4], [1], [6]], 4: [[3, 1, 7, 2], [5, 5, 1, 4], [1, 2, 1, 1]]}


@pytest.fixture(scope="module", params=sorted(VISION))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> QwenVL:
    """Each family with random weights."""
    folder = tmp_path_factory.mktemp(request.param)
    save_family(request.param, folder, load_processor("nano")[0].tokenizer)
    return models.load(str(folder), device="cpu")


@pytest.fixture(scope="module")
def trained() -> QwenVL:
    return models.load("nano", device="cpu")


@pytest.fixture
def nano_groups(trained: QwenVL) -> list[Group]:
    """Three prompts of unequal length, the first and the last about one image."""
    return random_groups(trained, [(112, 112), (84, 112), (112, 112)], LENGTHS[4])


def groups_of(model: QwenVL, generations: int) -> list[Group]:
    large, small = SIZES[model.net.config.model_type]
    return random_groups(model, [large, small, large], LENGTHS[generations])


def trainable(model: QwenVL, attention: str = "sdpa") -> Any:
    net = copy.deepcopy(model.net).requires_grad_(True)
    net.set_attn_implementation({"text_config": attention})
    return net


def with_gradients(net: Any, batch: GroupBatch, **settings: Any) -> tuple[TokenLogprobs, list[torch.Tensor]]:
    """Log-probabilities, and the gradients of a weighted sum of them in every weight they depend on."""
    out = GroupLogprobs(net, **settings)(batch)
    weights = [p for p in net.parameters() if p.requires_grad]
    grads = torch.autograd.grad((out.logps * noise(out.logps.shape)).sum(), weights, allow_unused=True)
    return out, [g for g in grads if g is not None]


@torch.no_grad()
def plain_logprobs(net: Any, model: QwenVL, groups: Sequence[Group]) -> list[torch.Tensor]:
    """Per completion: transformers' own forward over a left-padded batch, all logits, log-softmax, gather."""
    rows = [(g, c) for g in groups for c in g.completions]
    images = Images.of_prompts([g.prompt for g, _ in rows])
    batch = pad_rows([Row(g.prompt.ids + c.ids, 0) for g, c in rows], model.chat.image_token_id, 0, left=True)
    pixel_values, grid_thw = patchify([images.pixels[i] for i in images.of], model.grid)
    logits = net(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        mm_token_type_ids=batch.token_types,
        pixel_values=pixel_values,
        image_grid_thw=grid_thw,
    ).logits
    logps = logits.double().log_softmax(-1)[:, :-1].gather(-1, batch.input_ids[:, 1:, None])[..., 0]
    return [row[len(row) - len(c.ids) :] for row, (_, c) in zip(logps, rows)]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("generations", sorted(LENGTHS))
def test_equal_to_plain_transformers(model: QwenVL, generations: int, attention: str) -> None:
    """In both layouts, right-padded here, left-padded and with stock attention and patch embedding there."""
    groups = groups_of(model, generations)
    stock = AutoModelForImageTextToText.from_pretrained(model.name, attn_implementation=attention).eval()
    wanted = plain_logprobs(stock, model, groups)
    module = GroupLogprobs(trainable(model, attention))
    for layout in ("shared", "repeated"):
        out = module(collate(model, groups, layout=layout))
        assert out.logps.dtype == torch.float32
        assert out.logps[~out.mask].eq(0).all()
        found = [row[seen] for row, seen in zip(out.logps.flatten(0, 1), out.mask.flatten(0, 1))]
        for mine, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(mine.double(), theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("generations", sorted(LENGTHS))
def test_shared_rows_equal_repeated_rows(model: QwenVL, generations: int, attention: str) -> None:
    groups, net = groups_of(model, generations), trainable(model, attention)
    shared, gradients = with_gradients(net, collate(model, groups))
    repeated, wanted = with_gradients(net, collate(model, groups, layout="repeated"))
    torch.testing.assert_close(shared.logps, repeated.logps, rtol=0, atol=1e-4)
    assert torch.equal(shared.mask, repeated.mask)
    assert len(gradients) == len(list(net.parameters()))
    for mine, theirs in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_pixel_gradients_equal_in_both_layouts_and_to_finite_differences(model: QwenVL) -> None:
    """One step along a random direction, in float64."""
    groups = groups_of(model, 4)
    images = Images.of_prompts([g.prompt for g in groups])
    pixels = tuple(p.double().requires_grad_() for p in images.pixels)
    module = GroupLogprobs(trainable(model).double())
    along = [torch.randn(p.shape, generator=torch.Generator().manual_seed(1), dtype=p.dtype) for p in pixels]

    def total(step: float, layout: str = "shared") -> torch.Tensor:
        moved = tuple(p + step * direction for p, direction in zip(pixels, along))
        logps = module(collate(model, groups, Images(moved, images.of), layout)).logps
        return (logps * noise(logps.shape)).sum()

    gradients = torch.autograd.grad(total(0), pixels)
    for mine, theirs in zip(gradients, torch.autograd.grad(total(0, "repeated"), pixels), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
        assert mine.abs().sum() > 0
    slope = sum((g * direction).sum() for g, direction in zip(gradients, along))
    with torch.no_grad():
        measured = (total(1e-3) - total(-1e-3)) / 2e-3
    torch.testing.assert_close(slope, measured, rtol=1e-2, atol=1e-4)


def test_each_distinct_image_is_encoded_once_per_pass(model: QwenVL) -> None:
    groups = groups_of(model, 4)
    net, seen = trainable(model), []
    net.model.visual.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    for layout in ("shared", "repeated"):
        batch = collate(model, groups, layout=layout)
        assert len(batch.grid_thw) == 2
        GroupLogprobs(net)(batch).logps.sum().backward()
    sizes = {group.prompt.image.shape[:2] for group in groups}
    patches = sum(height * width // model.grid.patch_size**2 for height, width in sizes)
    assert seen == [patches, patches]


def test_permuting_groups_and_completions_permutes_the_values(trained: QwenVL, nano_groups: list[Group]) -> None:
    order, inner = [2, 0, 1], [3, 1, 0, 2]
    moved = [replace(g, completions=tuple(g.completions[i] for i in inner)) for g in (nano_groups[i] for i in order)]
    module = GroupLogprobs(trained.net)
    straight, permuted = module(collate(trained, nano_groups)), module(collate(trained, moved))
    torch.testing.assert_close(permuted.logps, straight.logps[order][:, inner], rtol=0, atol=1e-5)
    assert torch.equal(permuted.mask, straight.mask[order][:, inner])


def test_a_completion_does_not_see_the_others(trained: QwenVL, nano_groups: list[Group]) -> None:
    """Other tokens in completion 2: its own values move, those of the others stay bit for bit."""
    module = GroupLogprobs(trained.net)
    before = module(collate(trained, nano_groups)).logps
    changed = Completion(tuple(range(100, 107)), "", truncated=False)
    first = nano_groups[0].completions
    groups = [replace(nano_groups[0], completions=(*first[:2], changed, first[3])), *nano_groups[1:]]
    after = module(collate(trained, groups)).logps
    assert torch.equal(after[0, [0, 1, 3]], before[0, [0, 1, 3]])
    assert torch.equal(after[1:], before[1:])
    assert (after[0, 2, 1:] - before[0, 2, 1:]).abs().max() > 1


def test_chunks_change_nothing_and_bound_the_logits(trained: QwenVL, nano_groups: list[Group]) -> None:
    """The head never gets more positions than a chunk, in forward and in the recomputation of backward."""
    net = trainable(trained)
    rows: list[int] = []
    net.lm_head.register_forward_hook(lambda _, args, out: rows.append(out.numel() // out.shape[-1]))
    batch = collate(trained, nano_groups)
    whole, wanted = with_gradients(net, batch)
    tokens = int(batch.mask.sum())
    assert rows == [tokens, tokens]
    for chunk in (1, 5):
        rows.clear()
        out, gradients = with_gradients(net, batch, chunk=chunk)
        assert max(rows) == chunk
        assert sum(rows) == 2 * tokens
        torch.testing.assert_close(out.logps, whole.logps, rtol=0, atol=1e-5)
        for mine, theirs in zip(gradients, wanted, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_no_logits_are_kept_for_backward() -> None:
    """Between forward and backward nothing of the size of the vocabulary is saved but the head itself."""
    head = nn.Linear(8, 1000, bias=False)
    hidden = torch.randn(40, 8, requires_grad=True)
    saved: list[torch.Size] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        token_logprobs(hidden, head, torch.arange(40), chunk=16)
    assert not [shape for shape in saved if 1000 in shape and shape != head.weight.shape]


def test_temperature_suppression_and_entropy_are_those_of_the_sampled_distribution() -> None:
    torch.manual_seed(0)
    head, hidden, targets = nn.Linear(8, 30, bias=False), torch.randn(7, 8, requires_grad=True), torch.arange(7)
    logits = head(hidden) / 0.7
    allowed = torch.arange(30)[~torch.isin(torch.arange(30), torch.tensor([9, 29]))]
    expected = torch.distributions.Categorical(logits=logits[:, allowed])
    found, entropy = token_logprobs(hidden, head, targets, temperature=0.7, suppressed=(9, 29), chunk=3, entropy=True)
    assert entropy is not None
    torch.testing.assert_close(found, expected.log_prob(targets))
    torch.testing.assert_close(entropy, expected.entropy())
    assert not entropy.requires_grad
    mine, theirs = (torch.autograd.grad(x.sum(), hidden)[0] for x in (found, expected.log_prob(targets)))
    torch.testing.assert_close(mine, theirs)
    plain, none = token_logprobs(hidden, head, targets)
    torch.testing.assert_close(plain, head(hidden).log_softmax(-1).gather(-1, targets[:, None])[:, 0])
    assert none is None


def test_values_are_those_of_the_distribution_that_rollouts_draw_from(
    trained: QwenVL, nano_groups: list[Group]
) -> None:
    """Token by token: one row, no cache, vision tokens banned, tempered."""
    banned = vision_ids(trained.net)
    group = nano_groups[0]
    images = Images.of_prompts([group.prompt])
    out = GroupLogprobs(trained.net, banned)(collate(trained, [group]), temperature=2.0, entropy=True)
    assert out.entropy is not None
    assert out.entropy[~out.mask].eq(0).all()
    for g, completion in enumerate(group.completions):
        for i, token in enumerate(completion.ids):
            logits = next_logits(trained, images.pixels[0], group.prompt.ids + completion.ids[:i], banned)
            drawn = torch.distributions.Categorical(logits=logits[~logits.isinf()] / 2)
            assert float(out.entropy[0, g, i]) == pytest.approx(float(drawn.entropy()), abs=1e-4)
            wanted = (logits / 2).log_softmax(-1)[token]
            assert float(out.logps[0, g, i]) == pytest.approx(float(wanted), abs=1e-4)


@pytest.mark.parametrize("lora", [False, True])
def test_gradient_checkpointing_changes_nothing(trained: QwenVL, nano_groups: list[Group], lora: bool) -> None:
    net = with_adapter(trainable(trained)) if lora else trainable(trained)
    batch = collate(trained, nano_groups)
    plain, wanted = with_gradients(net.train(), batch)
    net.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    out, gradients = with_gradients(net, batch, chunk=5)
    torch.testing.assert_close(out.logps, plain.logps, rtol=0, atol=1e-5)
    for mine, theirs in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    assert net.training


def with_adapter(net: Any) -> Any:
    """LoRA whose B is not zero, so that the adapter shows."""
    adapted = get_peft_model(net, LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    torch.manual_seed(0)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.2)
    return adapted


def test_the_reference_is_the_model_without_its_adapter(trained: QwenVL, nano_groups: list[Group]) -> None:
    batch = collate(trained, nano_groups)
    wanted = GroupLogprobs(trained.net)(batch, temperature=1.3).logps
    module = GroupLogprobs(with_adapter(trainable(trained))).train()
    for i, weight in enumerate(w for w in module.parameters() if w.requires_grad):
        weight.requires_grad_(i % 2 == 0)
    before = [w.requires_grad for w in module.parameters()], [m.training for m in module.modules()]
    found = reference_logprobs(module, batch, temperature=1.3)
    assert not found.requires_grad
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    assert ([w.requires_grad for w in module.parameters()], [m.training for m in module.modules()]) == before
    assert (module(batch, temperature=1.3).logps - wanted).abs().max() > 1e-2


def test_the_reference_is_the_frozen_copy(trained: QwenVL, nano_groups: list[Group]) -> None:
    batch = collate(trained, nano_groups)
    module, frozen = GroupLogprobs(trainable(trained)), GroupLogprobs(trained.net)
    with torch.no_grad():
        module.net.model.language_model.norm.weight.mul_(1.5)
    assert torch.equal(reference_logprobs(module, batch, frozen), frozen(batch).logps)
    with pytest.raises(ValueError, match="a frozen copy of the model, or an adapter"):
        reference_logprobs(module, batch)


def test_attention_that_takes_no_block_mask_is_replaced(trained: QwenVL, nano_groups: list[Group]) -> None:
    wanted = GroupLogprobs(trained.net)(collate(trained, nano_groups)).logps
    net = trainable(trained)
    net.model.language_model.config._attn_implementation = "flash_attention_2"
    torch.testing.assert_close(GroupLogprobs(net)(collate(trained, nano_groups)).logps, wanted)
    net.model.language_model.has_sliding_layers = True
    with pytest.raises(UserError, match="use the repeated layout"):
        GroupLogprobs(net)(collate(trained, nano_groups))
