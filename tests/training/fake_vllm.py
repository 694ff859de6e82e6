"""A stand-in for the `vllm` module, as far as its documentation goes (0.11 to 0.22): `LLM`, `SamplingParams`, outputs.

It takes only documented arguments, expands image tokens and preprocesses images itself, samples the slow way, and
refuses to generate from a prefix cache older than its weights.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from rollout_cases import next_logits

from medproof import models
from medproof.images.preprocess import to_float
from medproof.models.sampling import draw, uniforms


@dataclass
class SamplingParams:
    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = 16
    min_tokens: int = 0
    logprobs: int | None = None
    detokenize: bool = True
    skip_special_tokens: bool = True
    logit_bias: dict[int, float] | None = None
    allowed_token_ids: list[int] | None = None
    bad_words: list[str] | None = None

    def __post_init__(self) -> None:
        assert self.n >= 1
        assert self.temperature >= 0
        assert 0 < self.top_p <= 1
        assert self.top_k >= -1
        assert self.max_tokens is None or self.max_tokens >= 1
        assert self.n == 1 or self.temperature > 0, "vLLM refuses n > 1 with greedy sampling"
        assert self.seed is None or 0 <= self.seed < 2**63


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: Sequence[int]
    finish_reason: str
    stop_reason: int | str | None = None


@dataclass
class RequestOutput:
    request_id: str
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    finished: bool = True


class LoadedModel:
    """What `apply_model` hands over: it takes weights by the names of the checkpoint."""

    def __init__(self, net: Any) -> None:
        self.net = net

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        parameters = dict(self.net.named_parameters())
        loaded = set()
        for name, weight in weights:
            assert not weight.requires_grad
            parameters[name].data.copy_(weight)
            loaded.add(name)
        assert loaded == parameters.keys()
        return loaded


class LLM:
    last: "LLM"

    def __init__(
        self,
        model: str,
        *,
        tokenizer: str | None = None,
        tensor_parallel_size: int = 1,
        dtype: str = "auto",
        seed: int = 0,
        gpu_memory_utilization: float = 0.9,
        max_model_len: int | None = None,
        max_num_seqs: int | None = None,
        limit_mm_per_prompt: dict[str, int] | None = None,
        mm_processor_kwargs: dict[str, Any] | None = None,
        generation_config: str = "auto",
        enable_prefix_caching: bool | None = None,
        enable_sleep_mode: bool = False,
        distributed_executor_backend: str | None = None,
    ) -> None:
        assert 0 < gpu_memory_utilization <= 1
        self.model = models.load(model, device="cpu")
        self.images = (limit_mm_per_prompt or {}).get("image", 1)
        self.max_model_len = max_model_len
        self.stale = False
        LLM.last = self

    def generate(
        self, prompts: Sequence[dict[str, Any]], sampling_params: Sequence[SamplingParams], *, use_tqdm: bool = True
    ) -> list[RequestOutput]:
        assert not self.stale, "reset_prefix_cache was not called after load_weights"
        assert len(prompts) == len(sampling_params)
        return [self._answer(i, p, s) for i, (p, s) in enumerate(zip(prompts, sampling_params, strict=True))]

    def apply_model(self, func: Callable[[LoadedModel], Any]) -> list[Any]:
        self.stale = True
        return [func(LoadedModel(self.model.net))]

    def reset_prefix_cache(self) -> bool:
        self.stale = False
        return True

    def _answer(self, number: int, prompt: dict[str, Any], params: SamplingParams) -> RequestOutput:
        assert prompt.keys() == {"prompt_token_ids", "multi_modal_data"}
        image = prompt["multi_modal_data"]["image"]
        assert isinstance(image, Image.Image)
        pixels = self.model.grid.render(np.asarray(image))
        token = self.model.chat.image_token_id
        assert prompt["prompt_token_ids"].count(token) == 1 <= self.images, "one image token per image"
        ids: list[int] = []
        for i in prompt["prompt_token_ids"]:
            ids += [i] * (self.model.grid.tokens(*pixels.shape[:2]) if i == token else 1)
        outputs = [self._complete(tuple(ids), to_float(pixels), params, g) for g in range(params.n)]
        return RequestOutput(str(number), ids, outputs[::-1])

    def _complete(self, ids: tuple[int, ...], pixels: torch.Tensor, params: SamplingParams, g: int) -> CompletionOutput:
        ends = {*(params.stop_token_ids or ()), self.model.chat.tokenizer.eos_token_id}
        numbers = uniforms([(params.seed or 0) + g], params.max_tokens or 16)[0]
        written: list[int] = []
        for number in numbers:
            logits = next_logits(self.model, pixels, ids + tuple(written), banned=())
            for token, bias in (params.logit_bias or {}).items():
                logits[token] += bias
            written.append(int(draw(logits[None], number[None], params.temperature, params.top_p, params.top_k)))
            if written[-1] in ends:
                return CompletionOutput(g, "", tuple(written), "stop", written[-1])
        return CompletionOutput(g, "", tuple(written), "length")
