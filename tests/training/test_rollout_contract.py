"""What every rollout engine promises, asked of the local one and of vLLM's adapter over a stand-in for vLLM."""

import copy
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import fake_vllm
import numpy as np
import pytest
import torch
from rollout_cases import make_prompts, texts, views, written

from medproof import models
from medproof.errors import UserError
from medproof.images.preprocess import to_float
from medproof.models import nano
from medproof.models.qwen_vl import QwenVL
from medproof.models.special_ids import end_ids, vision_ids
from medproof.records import Decoding
from medproof.training.groups import Images, Prompt
from medproof.training.rollout.engine import Engine, Sampling
from medproof.training.rollout.local import LocalEngine
from medproof.training.rollout.vllm import VllmEngine

SIZES = [(112, 112), (84, 112), (112, 84)]


@pytest.fixture(scope="module")
def model() -> QwenVL:
    return models.load("nano", device="cpu")


@pytest.fixture(params=["local", "vllm"])
def make_engine(
    request: pytest.FixtureRequest, model: QwenVL, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Engine]:
    def make(net: Any = model.net) -> Engine:
        if request.param == "local":
            return LocalEngine(net, model.chat, model.grid)
        monkeypatch.setitem(sys.modules, "vllm", fake_vllm)
        monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
        return VllmEngine(str(nano.checkpoint()), net, model.chat, max_model_len=512)

    return make


@pytest.fixture
def prompts(model: QwenVL) -> list[Prompt]:
    return make_prompts(model, SIZES, modes=("direct", "think"))


def greedy(model: QwenVL, prompts: list[Prompt], length: int) -> list[list[str]]:
    return [[r.text] * 2 for r in model.generate(views(prompts), Decoding(max_new_tokens=length))]


def test_greedy_groups_are_what_generate_writes(
    make_engine: Callable[..., Engine], model: QwenVL, prompts: list[Prompt]
) -> None:
    groups = make_engine().generate(prompts, Images.of_prompts(prompts), Sampling(2, 6, temperature=0))
    assert [group.prompt for group in groups] == prompts
    assert texts(groups) == greedy(model, prompts, 6)


def test_a_completion_ends_with_its_end_token_or_is_truncated(
    make_engine: Callable[..., Engine], model: QwenVL, prompts: list[Prompt]
) -> None:
    groups = make_engine().generate(prompts, Images.of_prompts(prompts), Sampling(3, 5))
    ends = set(end_ids(model.net, model.chat.tokenizer))
    for group in groups:
        assert len(group.completions) == 3
        for completion in group.completions:
            assert completion.truncated == (group.prompt.mode == "think")
            assert (completion.ids[-1] in ends) == (not completion.truncated)
            assert len(completion.ids) == 5 if completion.truncated else len(completion.ids) <= 5
            assert not ends & set(completion.ids[:-1])
            assert completion.text == model.chat.decode([i for i in completion.ids if i not in ends])


def test_draws_follow_the_seed_of_the_prompt_and_the_place_in_the_group(
    make_engine: Callable[..., Engine], prompts: list[Prompt]
) -> None:
    engine = make_engine()
    images = Images.of_prompts(prompts)
    ids = written(engine.generate(prompts, images, Sampling(3, 5, temperature=2.0)))
    assert ids == written(engine.generate(prompts, images, Sampling(3, 5, temperature=2.0)))
    fewer = written(engine.generate(prompts, images, Sampling(2, 5, temperature=2.0)))
    assert fewer == [group[:2] for group in ids]
    reseeded = [replace(prompt, seed=prompt.seed + 50) for prompt in prompts]
    assert ids != written(engine.generate(reseeded, images, Sampling(3, 5, temperature=2.0)))
    assert any(len(set(group)) > 1 for group in ids)


def test_what_is_shown_is_what_images_say(
    make_engine: Callable[..., Engine], model: QwenVL, prompts: list[Prompt]
) -> None:
    """Another image of the same size, as an attack would put in its place."""
    shown = [replace(p, image=np.full_like(p.image, 255)) for p in prompts]
    images = Images(tuple(to_float(p.image) for p in shown), (0, 1, 2))
    groups = make_engine().generate(prompts, images, Sampling(2, 6, temperature=0))
    assert texts(groups) == greedy(model, shown, 6)
    assert texts(groups) != greedy(model, prompts, 6)


def test_vision_tokens_are_never_written(
    make_engine: Callable[..., Engine], model: QwenVL, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    banned = vision_ids(model.net)
    original = torch.nn.Linear.forward

    def eager(self: torch.nn.Linear, hidden: torch.Tensor) -> torch.Tensor:
        out = original(self, hidden)
        return out.index_fill(-1, torch.tensor(banned), 100.0) if self.out_features == nano.VOCABULARY else out

    monkeypatch.setattr(torch.nn.Linear, "forward", eager)
    ids = written(make_engine().generate(prompts, Images.of_prompts(prompts), Sampling(2, 4)))
    assert not {token for group in ids for row in group for token in row} & set(banned)


def test_sync_brings_the_new_weights(make_engine: Callable[..., Engine], model: QwenVL, prompts: list[Prompt]) -> None:
    """A LoRA network whose adapter starts to count: base weights and adapter are both in what is sampled from."""
    import peft

    net = copy.deepcopy(model.net).requires_grad_(True)
    lora = peft.get_peft_model(net, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    engine = make_engine(lora)
    images = Images.of_prompts(prompts)
    before = texts(engine.generate(prompts, images, Sampling(2, 6, temperature=0)))
    assert before == greedy(model, prompts, 6)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in lora.named_parameters():
            if "lora_B" in name:
                value.copy_(torch.randn(value.shape, generator=generator))
    engine.sync(lora)
    after = texts(engine.generate(prompts, images, Sampling(2, 6, temperature=0)))
    merged = copy.deepcopy(lora).merge_and_unload()
    changed = QwenVL(merged, model.chat, model.grid, model._image_processor, "changed")
    assert after == greedy(changed, prompts, 6)
    assert after != before
    assert lora.training
    assert all("lora" not in name or value.requires_grad for name, value in lora.named_parameters())


def test_vllm_is_called_as_documented(model: QwenVL, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", fake_vllm)
    monkeypatch.delenv("VLLM_ENABLE_V1_MULTIPROCESSING", raising=False)
    engine = VllmEngine(str(nano.checkpoint()), model.net, model.chat, gpu_memory_utilization=0.4, max_model_len=300)
    assert fake_vllm.LLM.last.max_model_len == 300
    seen: list[fake_vllm.SamplingParams] = []
    answer = fake_vllm.LLM._answer

    def spy(self: Any, number: int, prompt: dict[str, Any], params: fake_vllm.SamplingParams) -> Any:
        seen.append(params)
        return answer(self, number, prompt, params)

    monkeypatch.setattr(fake_vllm.LLM, "_answer", spy)
    engine.generate(prompts, Images.of_prompts(prompts), Sampling(2, 3, temperature=0.7, top_p=0.9, top_k=5))
    assert [params.seed for params in seen] == [prompt.seed for prompt in prompts]
    assert {(p.n, p.max_tokens, p.temperature, p.top_p, p.top_k) for p in seen} == {(2, 3, 0.7, 0.9, 5)}
    assert seen[0].stop_token_ids == end_ids(model.net, model.chat.tokenizer)
    assert not seen[0].detokenize


def test_without_vllm_one_line_says_what_to_do(model: QwenVL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    with pytest.raises(UserError, match=r"pip install 'medproof\[vllm\]'") as caught:
        VllmEngine("nano", model.net, model.chat)
    assert "\n" not in str(caught.value)
