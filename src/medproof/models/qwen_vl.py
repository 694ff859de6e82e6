"""White-box adapter for Qwen2-VL, Qwen2.5-VL and Qwen3-VL through transformers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from transformers import LogitsProcessorList, PreTrainedModel

from medproof.images.grid import Grid
from medproof.images.preprocess import patchify
from medproof.models.attention import use_grouped_vision_attention
from medproof.models.batch import Row, pad_rows, positions
from medproof.models.chat import AnswerSlot, Chat
from medproof.models.encode_once import encode_once
from medproof.models.patch_embed import use_linear_patch_embedding
from medproof.models.prompts import ANSWER_OPEN
from medproof.models.protocol import Objective, Reply
from medproof.models.sampling import SeededSampler
from medproof.records import Decoding, Mode, View
from medproof.seeds import derive_seed


class QwenVL:
    """Levels 1 to 3 of the protocol. Weights are frozen and in eval mode; training works on the bare net instead."""

    def __init__(
        self, net: PreTrainedModel, chat: Chat, grid: Grid, image_processor: Any, name: str, max_new_tokens: int = 256
    ) -> None:
        use_grouped_vision_attention(net)
        use_linear_patch_embedding(net)
        self.net = net.eval().requires_grad_(False)
        self.chat = chat
        self.name = name
        self._grid = grid
        self._image_processor = image_processor
        self._max_new_tokens = max_new_tokens
        self.weights_hash = weights_hash(net)
        self.processor_hash = processor_hash(chat, grid)

    @property
    def grid(self) -> Grid:
        return self._grid

    @property
    def device(self) -> torch.device:
        return torch.device(self.net.device)

    def decoding(self, mode: Mode) -> Decoding:
        """Greedy; direct answers are short, reasoning gets room."""
        return Decoding(max_new_tokens=16 if mode == "direct" else self._max_new_tokens)

    def cost(self, view: View) -> int:
        """Image and text tokens of the prompt plus what may be decoded."""
        return len(self._prompt(view)) + self.decoding(view.mode).max_new_tokens

    @torch.inference_mode()
    def generate(self, views: Sequence[View], decoding: Decoding, seed: int = 0) -> list[Reply]:
        """Decode each view. Distinct images are encoded once; vision tokens can never be written; left padding."""
        prompts = [self._prompt(view) for view in views]
        pixel_values, grid_thw, image_of = self._stock_pixels(views)
        rows = [Row(ids, image_of[i]) for i, ids in enumerate(prompts)]
        batch = pad_rows(rows, self.chat.image_token_id, self._pad_id, left=True).to(self.device)
        extra: dict[str, Any] = {}
        if decoding.temperature > 0:
            seeds = [derive_seed(seed, view.item.id, f"sample:{view.condition}:{view.mode}") for view in views]
            extra["logits_processor"] = LogitsProcessorList(
                [SeededSampler(seeds, decoding.temperature, decoding.top_p)]
            )
        inputs: dict[str, Any] = {"mm_token_type_ids": batch.token_types}
        if grid_thw is not None:
            inputs |= {"pixel_values": pixel_values, "image_grid_thw": grid_thw[list(batch.image_rows)]}
        with encode_once(self.net, grid_thw, batch.image_rows):
            output = self.net.generate(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                **inputs,
                **extra,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                max_new_tokens=decoding.max_new_tokens,
                suppress_tokens=self._vision_ids(),
                eos_token_id=self._eos_ids(),
                pad_token_id=self._pad_id,
            )
        written = output[:, batch.input_ids.shape[1] :].tolist()
        return [self._reply(len(prompt), ids) for prompt, ids in zip(prompts, written, strict=True)]

    @torch.inference_mode()
    def option_logprobs(
        self, views: Sequence[View], prefixes: Sequence[str] | None = None
    ) -> list[npt.NDArray[np.float64]]:
        """Per view (K,): log-probabilities of its letters at the answer slot, normalised over them. One forward."""
        pixel_values, grid_thw, image_of = self._stock_pixels(views)
        slots = self._slots(views, prefixes)
        logits = self._slot_logits(views, slots, pixel_values, grid_thw, image_of).double()
        return [logits[i, list(slot.letters)].log_softmax(-1).cpu().numpy() for i, slot in enumerate(slots)]

    def loss(
        self,
        pixels: Sequence[torch.Tensor],
        views: Sequence[View],
        objective: Objective = "margin",
        prefixes: Sequence[str] | None = None,
    ) -> torch.Tensor:
        """(N,) float32, larger is more adversarial, differentiable in `pixels` (each (3, H, W) in [0, 1])."""
        pixel_values, grid_thw = patchify(list(pixels), self._grid)
        slots = self._slots(views, prefixes)
        image_of: list[int | None] = list(range(len(views)))
        logits = self._slot_logits(views, slots, pixel_values, grid_thw.to(self.device), image_of).float()
        return torch.stack([_objective(logits[i], s, v, objective) for i, (s, v) in enumerate(zip(slots, views))])

    def _slot_logits(
        self,
        views: Sequence[View],
        slots: Sequence[AnswerSlot],
        pixel_values: torch.Tensor | None,
        grid_thw: torch.Tensor | None,
        image_of: Sequence[int | None],
    ) -> torch.Tensor:
        """(B, V) logits of the token after each slot's context; the head runs on that one position only."""
        rows = [Row(self._prompt(v) + s.context, image_of[i]) for i, (v, s) in enumerate(zip(views, slots))]
        batch = pad_rows(rows, self.chat.image_token_id, self._pad_id, left=False).to(self.device)
        inputs: dict[str, Any] = {}
        if grid_thw is not None:
            inputs = {"pixel_values": pixel_values, "image_grid_thw": grid_thw[list(batch.image_rows)]}
        with encode_once(self.net, grid_thw, batch.image_rows):
            hidden = self.net.model(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                position_ids=positions(self.net, batch, grid_thw),
                mm_token_type_ids=batch.token_types,
                use_cache=False,
                **inputs,
            ).last_hidden_state
        last = batch.attention_mask.sum(-1) - 1
        return torch.as_tensor(self.net.lm_head(hidden[torch.arange(len(rows), device=self.device), last]))

    def _prompt(self, view: View) -> tuple[int, ...]:
        tokens = 0 if view.image is None else self._grid.tokens(*view.image.shape[:2])
        return self.chat.prompt_ids(view.messages, tokens)

    def _slots(self, views: Sequence[View], prefixes: Sequence[str] | None) -> list[AnswerSlot]:
        texts = prefixes if prefixes is not None else [ANSWER_OPEN] * len(views)
        return [self.chat.answer_slot(v.item.letters, text) for v, text in zip(views, texts, strict=True)]

    def _stock_pixels(self, views: Sequence[View]) -> tuple[torch.Tensor | None, torch.Tensor | None, list[int | None]]:
        """Distinct images through the model's own (stock) processor; per view the index of its image."""
        distinct: dict[str, int] = {}
        images: list[Image.Image] = []
        image_of: list[int | None] = []
        for view in views:
            if view.image is None:
                image_of.append(None)
                continue
            if not self._grid.contains(*view.image.shape[:2]):
                raise ValueError(f"image of {view.item.id} has size {view.image.shape[:2]}, which is not on the grid")
            sha = view.pixels_sha256
            if sha not in distinct:
                distinct[sha] = len(images)
                images.append(Image.fromarray(view.image))
            image_of.append(distinct[sha])
        if not images:
            return None, None, image_of
        out = self._image_processor(images=images, return_tensors="pt")
        pixel_values = out["pixel_values"].to(self.device)
        return pixel_values, out["image_grid_thw"].to(self.device), image_of

    def _reply(self, prompt_tokens: int, ids: list[int]) -> Reply:
        ends = [i for i, token in enumerate(ids) if token in self._eos_ids()]
        kept = ids[: ends[0]] if ends else ids
        return Reply(self.chat.decode(kept), prompt_tokens, len(kept), truncated=not ends)

    @property
    def _pad_id(self) -> int:
        pad = self.chat.tokenizer.pad_token_id
        return int(pad if pad is not None else self.chat.tokenizer.eos_token_id)

    def _eos_ids(self) -> list[int]:
        known = self.net.generation_config.eos_token_id
        listed = known if isinstance(known, list) else [known]
        return sorted({int(i) for i in [*listed, self.chat.tokenizer.eos_token_id] if i is not None})

    def _vision_ids(self) -> list[int]:
        """Ids that stand for pixels: written into a reply they would break the next forward pass."""
        config = self.net.config
        names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
        return sorted({int(i) for n in names if (i := getattr(config, n, None)) is not None})


def _objective(logits: torch.Tensor, slot: AnswerSlot, view: View, objective: Objective) -> torch.Tensor:
    """(V,) logits at the slot -> scalar."""
    true = view.item.answer_index
    if objective == "answer":
        return -logits.log_softmax(-1)[slot.letters[true]]
    letters = logits[list(slot.letters)]
    wrong = torch.arange(len(letters), device=letters.device) != true
    return letters[wrong].max() - letters[true]


def weights_hash(net: torch.nn.Module) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of all parameters and persistent buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        data = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {data.dtype} {tuple(data.shape)}".encode())
        digest.update(data.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def processor_hash(chat: Chat, grid: Grid) -> str:
    """SHA-256 over the tokenizer, its chat template and the pixel grid."""
    backend = chat.tokenizer.backend_tokenizer.to_str()
    parts = (backend, str(chat.tokenizer.chat_template), json.dumps(grid.to_json(), sort_keys=True))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
