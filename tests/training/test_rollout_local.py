"""The local engine against `generate` of transformers and against sampling without cache, batch or shared prefix."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from rollout_cases import make_prompts, slow_rollout, texts, views, written

from medproof import models
from medproof.errors import UserError
from medproof.models import nano
from medproof.models.loading import load_processor
from medproof.models.qwen_vl import QwenVL
from medproof.models.special_ids import end_ids, vision_ids
from medproof.records import Decoding
from medproof.training.groups import Images, Prompt
from medproof.training.rollout import decode
from medproof.training.rollout.decode import Decoder
from medproof.training.rollout.engine import Sampling
from medproof.training.rollout.local import LocalEngine
from tiny_families import SIZES, VISION, save_family

NANO_SIZES = [(112, 112), (84, 112), (112, 84), (112, 112), (56, 84)]


@pytest.fixture(scope="module")
def trained() -> QwenVL:
    return models.load("nano", device="cpu")


@pytest.fixture(scope="module", params=["nano", *sorted(VISION)])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, trained: QwenVL) -> QwenVL:
    """The trained nano, and each family with random weights."""
    if request.param == "nano":
        return trained
    folder = tmp_path_factory.mktemp(request.param)
    save_family(request.param, folder, load_processor("nano")[0].tokenizer)
    return models.load(str(folder), device="cpu")


@pytest.fixture
def prompts(model: QwenVL) -> list[Prompt]:
    family = "nano" if model.name == "nano" else model.net.config.model_type
    return make_prompts(model, NANO_SIZES if family == "nano" else [*SIZES[family], *SIZES[family][:1]])


@pytest.fixture
def nano_prompts(trained: QwenVL) -> list[Prompt]:
    return make_prompts(trained, NANO_SIZES)


def engine(model: QwenVL, **settings: Any) -> LocalEngine:
    return LocalEngine(model.net, model.chat, model.grid, **settings)


def roll(engine: LocalEngine, prompts: list[Prompt], sampling: Sampling) -> list:
    return written(engine.generate(prompts, Images.of_prompts(prompts), sampling))


def test_greedy_equals_generate(model: QwenVL, prompts: list[Prompt]) -> None:
    groups = engine(model).generate(prompts, Images.of_prompts(prompts), Sampling(2, 12, temperature=0))
    replies = model.generate(views(prompts), Decoding(max_new_tokens=12))
    assert texts(groups) == [[reply.text] * 2 for reply in replies]
    for group, reply in zip(groups, replies, strict=True):
        for completion in group.completions:
            assert completion.truncated == reply.truncated
            assert len(completion.ids) == reply.completion_tokens + (not reply.truncated)


def test_samples_equal_those_without_cache_and_batch(model: QwenVL, prompts: list[Prompt]) -> None:
    """M-RoPE positions behind the prompt, padding, the shared prefix and the draws, all at once."""
    sampling = Sampling(3, 7, temperature=1.2, top_p=0.95, top_k=40)
    images = Images.of_prompts(prompts)
    assert roll(engine(model), prompts, sampling) == slow_rollout(model, prompts, images, sampling)


def test_a_completion_does_not_depend_on_the_batch(model: QwenVL, prompts: list[Prompt]) -> None:
    sampling = Sampling(3, 10, temperature=1.5)
    together = roll(engine(model), prompts, sampling)
    assert [roll(engine(model), [p], sampling)[0] for p in prompts] == together
    assert roll(engine(model), prompts[::-1], sampling) == together[::-1]
    assert roll(engine(model, max_rows=4), prompts, sampling) == together
    more = roll(engine(model), prompts, Sampling(5, 10, temperature=1.5))
    assert [group[:3] for group in more] == together
    assert len({ids for group in more for ids in group}) > len(prompts), "samples of a group differ"


def test_a_shorter_limit_cuts_the_same_completion(trained: QwenVL, nano_prompts: list[Prompt]) -> None:
    long = roll(engine(trained), nano_prompts, Sampling(2, 12))
    for length in (1, 5):
        short = roll(engine(trained), nano_prompts, Sampling(2, length))
        assert short == [[ids[:length] for ids in group] for group in long]


def test_ended_rows_are_dropped_and_nothing_changes(
    trained: QwenVL, nano_prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Direct replies end after 4 tokens, think replies after some 25."""
    sampling = Sampling(4, 40, temperature=1.3)
    sizes: list[int] = []
    step = Decoder._step

    def spy(self: Decoder) -> None:
        sizes.append(len(self._tokens))
        step(self)

    monkeypatch.setattr(Decoder, "_step", spy)
    compact = roll(engine(trained), nano_prompts, sampling)
    assert sizes[0] == 20
    assert 0 < sizes[-1] <= 10
    assert len(sizes) == max(len(ids) for group in compact for ids in group) - 1, "no step after the last end"
    monkeypatch.setattr(Decoder, "_drop_ended", lambda self: None)
    assert roll(engine(trained), nano_prompts, sampling) == compact


def test_fixed_shapes_give_the_same_tokens(
    trained: QwenVL, nano_prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a CUDA graph would run: all slots in view, no rows dropped, the host looking now and then."""
    sampling = Sampling(4, 30)
    plain = roll(engine(trained), nano_prompts, sampling)
    monkeypatch.setattr(Decoder, "_captured", lambda self: self._step)
    run = Decoder.run
    monkeypatch.setattr(Decoder, "run", lambda self, graph: run(self, graph=True))
    assert roll(engine(trained), nano_prompts, sampling) == plain


def test_a_graph_that_cannot_be_captured_is_done_without(
    trained: QwenVL, nano_prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    plain = roll(engine(trained), nano_prompts, Sampling(2, 6))
    monkeypatch.setattr(decode.torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(decode.torch.cuda, "graph", refuse)
    run = Decoder.run
    monkeypatch.setattr(Decoder, "run", lambda self, graph: run(self, graph=True))
    assert roll(engine(trained), nano_prompts, Sampling(2, 6)) == plain
    assert "operation not permitted when stream is capturing" in caplog.text


@pytest.fixture
def calls(trained: QwenVL, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[int]]]:
    """Images per call of the vision tower, rows per call of the whole inner model."""
    seen: dict[str, list[int]] = {"images": [], "prefill": []}
    tower = trained.net.model.visual
    encode = tower.forward

    def spy(pixels: torch.Tensor, grid_thw: torch.Tensor, **kwargs: Any) -> Any:
        seen["images"].append(len(grid_thw))
        return encode(pixels, grid_thw=grid_thw, **kwargs)

    monkeypatch.setattr(tower, "forward", spy)
    hook = trained.net.model.register_forward_pre_hook(
        lambda _, args, kwargs: seen["prefill"].append(len(kwargs["input_ids"])), with_kwargs=True
    )
    yield seen
    hook.remove()


@pytest.mark.parametrize(("max_rows", "prefills"), [(256, [5]), (8, [2, 2, 1])])
def test_images_are_encoded_once_and_prompts_read_once(
    trained: QwenVL, nano_prompts: list[Prompt], calls: dict[str, list[int]], max_rows: int, prefills: list[int]
) -> None:
    roll(engine(trained, max_rows=max_rows), nano_prompts, Sampling(4, 3))
    assert calls == {"images": [4], "prefill": prefills}, "five prompts show four images"


def test_vision_tokens_are_never_written(
    trained: QwenVL, nano_prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when the head wants nothing else."""
    banned = vision_ids(trained.net)
    head = trained.net.lm_head.forward

    def eager(hidden: torch.Tensor) -> torch.Tensor:
        return head(hidden).index_fill(-1, torch.tensor(banned), 1e4)

    monkeypatch.setattr(trained.net.lm_head, "forward", eager)
    for temperature in (0.0, 1.0):
        ids = roll(engine(trained), nano_prompts, Sampling(2, 6, temperature))
        assert not {token for group in ids for row in group for token in row} & set(banned)


@pytest.mark.parametrize("which", [0, -1])
def test_every_end_token_ends(
    trained: QwenVL, nano_prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    """Two ids end a turn; a head that writes one of them at the third token ends every row there, itself included."""
    monkeypatch.setattr(trained.net.generation_config, "eos_token_id", [100, trained.chat.tokenizer.eos_token_id])
    ends = end_ids(trained.net, trained.chat.tokenizer)
    assert len(ends) == 2
    head = trained.net.lm_head.forward
    heads = 0

    def ending(hidden: torch.Tensor) -> torch.Tensor:
        nonlocal heads
        heads += 1
        logits = head(hidden).index_fill(-1, torch.tensor(ends), -1e4)
        return logits.index_fill(-1, torch.tensor([ends[which]]), 1e4) if heads == 3 else logits

    monkeypatch.setattr(trained.net.lm_head, "forward", ending)
    groups = engine(trained).generate(nano_prompts, Images.of_prompts(nano_prompts), Sampling(2, 9))
    for completion in (c for group in groups for c in group.completions):
        assert len(completion.ids) == 3
        assert completion.ids[-1] == ends[which]
        assert not completion.truncated
        assert completion.text == trained.chat.decode(completion.ids[:2])


def test_the_network_is_left_as_it_was(trained: QwenVL, nano_prompts: list[Prompt]) -> None:
    """Modes per module, attention, gradient checkpointing; in training mode the completions are the same."""
    net = nano.build_net(nano.build_config(trained.chat.tokenizer), seed=1)
    local = LocalEngine(net, trained.chat, trained.grid)
    net.eval()
    expected = roll(local, nano_prompts, Sampling(2, 5))
    net.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    net.train()
    net.model.visual.eval()
    modes = {name: module.training for name, module in net.named_modules()}
    assert roll(local, nano_prompts, Sampling(2, 5)) == expected
    assert {name: module.training for name, module in net.named_modules()} == modes
    assert net.config.text_config._attn_implementation == "sdpa"
    assert net.is_gradient_checkpointing
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_the_network_is_left_as_it_was_after_an_error(
    trained: QwenVL, nano_prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = nano.build_net(nano.build_config(trained.chat.tokenizer), seed=1).train()
    with torch.no_grad():
        net.model.language_model.norm.weight[0] = torch.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        roll(LocalEngine(net, trained.chat, trained.grid), nano_prompts, Sampling(2, 5))
    assert net.training
    assert net.model.language_model.training
    assert net.config.text_config._attn_implementation == "sdpa"


def test_reduced_precision_is_asked_for_by_autocast(trained: QwenVL, nano_prompts: list[Prompt]) -> None:
    """bfloat16 under autocast and bfloat16 weights: both sample sensible, finite text."""
    mixed = engine(trained, autocast=torch.bfloat16)
    groups = mixed.generate(nano_prompts, Images.of_prompts(nano_prompts), Sampling(2, 30, temperature=0))
    assert all("<answer>" in c.text and not c.truncated for group in groups for c in group.completions)
    half = models.load("nano", device="cpu", dtype="bfloat16")
    groups = engine(half).generate(nano_prompts, Images.of_prompts(nano_prompts), Sampling(2, 30, temperature=0))
    assert all("<answer>" in c.text and not c.truncated for group in groups for c in group.completions)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_generations": 0}, "num_generations 0"),
        ({"max_completion_length": 0}, "max_completion_length 0"),
        ({"temperature": -0.1}, "temperature -0.1"),
        ({"top_p": 0.0}, "top_p 0.0"),
        ({"top_k": -1}, "top_k -1"),
    ],
)
def test_sampling_without_meaning_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Sampling(**{"num_generations": 2, "max_completion_length": 4, **settings})


def test_no_prompts_no_groups(trained: QwenVL) -> None:
    assert engine(trained).generate([], Images((), ()), Sampling(2, 4)) == []
