"""Rollouts from vLLM (optional), in the trainer's own process and on its GPU.

What is not identical to `LocalEngine`:

- Draws. Seeded per prompt (vLLM gives completion g the seed + g), hence reproducible, but other numbers, and vLLM's
  arithmetic depends on the batch: the same request in another batch may end differently.
- Probabilities. vLLM's kernels and types are its own, so its log-probabilities are not the trainer's. The old
  log-probabilities of the loss must be computed by the trainer's network; none are returned from here.
- Pixels. vLLM preprocesses 8-bit images itself: a perturbed image is rounded to 8 bits first.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from medproof.errors import UserError
from medproof.images.preprocess import to_uint8
from medproof.models.chat import Chat
from medproof.models.special_ids import end_ids, vision_ids
from medproof.training.groups import Group, Images, Prompt
from medproof.training.rollout.engine import Sampling, make_completion
from medproof.training.rollout.weights import bare, merged_weights

_NEVER = -1e9  # added to a logit


class VllmEngine:
    """Samples from vLLM's copy of the network.

    folder: model folder or hub id that vLLM starts from. net: the network in training, whose weights are sent at once
    and again by each `sync`. options: further arguments of `vllm.LLM`, such as `max_model_len` or `dtype`.
    """

    def __init__(self, folder: str, net: Any, chat: Chat, gpu_memory_utilization: float = 0.3, **options: Any) -> None:
        """Raises UserError where vLLM is not installed."""
        # In-process workers: `sync` hands tensors over without copying them between processes.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        try:
            self._vllm = importlib.import_module("vllm")
        except ImportError as error:
            raise UserError("engine vllm needs vLLM: pip install 'medproof[vllm]', or set engine: local") from error
        if torch.distributed.is_initialized():
            options.setdefault("distributed_executor_backend", "external_launcher")  # one engine per process
        inner = bare(net)
        self._chat = chat
        self._end_ids = end_ids(inner, chat.tokenizer)
        self._bias = dict.fromkeys(vision_ids(inner), _NEVER)
        self._llm = self._vllm.LLM(
            model=folder,
            gpu_memory_utilization=gpu_memory_utilization,
            limit_mm_per_prompt={"image": 1},
            generation_config="vllm",
            **options,
        )
        self.sync(net)

    def generate(self, prompts: Sequence[Prompt], images: Images, sampling: Sampling) -> list[Group]:
        """See `Engine`. vLLM runs the vision tower and the prompt once per request and shares them among its G."""
        if not prompts:
            return []
        shown = [Image.fromarray(to_uint8(pixels)) for pixels in images.pixels]
        requests = [
            {"prompt_token_ids": self._request_ids(prompt), "multi_modal_data": {"image": shown[images.of[i]]}}
            for i, prompt in enumerate(prompts)
        ]
        outputs = self._llm.generate(requests, [self._params(p, sampling) for p in prompts], use_tqdm=False)
        copies = sampling.num_generations if sampling.temperature == 0 else 1
        return [self._group(prompt, output.outputs, copies) for prompt, output in zip(prompts, outputs, strict=True)]

    def sync(self, net: Any) -> None:
        """Load the weights of `net`, LoRA adapters merged on the way, and forget what was cached with the old ones.

        Of a sharded network one parameter at a time is gathered; all processes must call this together.
        """

        def load(model: Any) -> None:
            model.load_weights(merged_weights(net))

        with torch.no_grad():
            self._llm.apply_model(load)
        self._llm.reset_prefix_cache()

    def _group(self, prompt: Prompt, outputs: Sequence[Any], copies: int) -> Group:
        written = [list(output.token_ids) for output in sorted(outputs, key=lambda output: output.index)]
        return Group(prompt, tuple(make_completion(ids, self._end_ids, self._chat) for ids in written) * copies)

    def _request_ids(self, prompt: Prompt) -> list[int]:
        """One image token per image: vLLM's processor puts in as many as the image takes."""
        return list(self._chat.prompt_ids(prompt.messages, 1))

    def _params(self, prompt: Prompt, sampling: Sampling) -> Any:
        return self._vllm.SamplingParams(
            n=sampling.num_generations if sampling.temperature > 0 else 1,  # vLLM refuses more of the same
            max_tokens=sampling.max_completion_length,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            seed=prompt.seed,
            stop_token_ids=self._end_ids,
            logit_bias=self._bias,
            detokenize=False,
        )
