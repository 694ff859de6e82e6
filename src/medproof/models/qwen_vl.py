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
from medproof.models.prompts import ANSWER_CLOSE, ANSWER_OPEN
from medproof.models.protocol import Objective, Reply
from medproof.models.sampling import SeededSampler
from medproof.models.special_ids import end_ids, pad_id, vision_ids
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
            sampler = SeededSampler(seeds, decoding.max_new_tokens, decoding.temperature, decoding.top_p)
            extra["logits_processor"] = LogitsProcessorList([sampler])
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
        if objective == "answer":
            opened = "" if prefixes is not None else ANSWER_OPEN
            texts = [f"{opened}{view.item.answer_letter}{ANSWER_CLOSE}" for view in views]
            return -self.continuation_logprobs(pixels, views, texts, prefixes)
        slots = self._slots(views, prefixes)
        logits = self._slot_logits(views, slots, *self._patches(pixels)).float()
        return torch.stack([_margin(logits[i], s, v) for i, (s, v) in enumerate(zip(slots, views))])

    def letter_logprobs(
        self, pixels: Sequence[torch.Tensor], views: Sequence[View], prefixes: Sequence[str] | None = None
    ) -> list[torch.Tensor]:
        """Per view (K,): log p of its letters at the answer slot, over the whole vocabulary."""
        slots = self._slots(views, prefixes)
        logps = self._slot_logits(views, slots, *self._patches(pixels)).float().log_softmax(-1)
        return [logps[i, list(slot.letters)] for i, slot in enumerate(slots)]

    def continuation_logprobs(
        self,
        pixels: Sequence[torch.Tensor],
        views: Sequence[View],
        texts: Sequence[str],
        prefixes: Sequence[str] | None = None,
    ) -> torch.Tensor:
        """(N,) log p of each text behind its prefix, summed over its tokens; the head runs on those positions only."""
        pixel_values, grid_thw, image_of = self._patches(pixels)
        parts = [self.chat.continuation(p, t) for p, t in zip(prefixes or [""] * len(views), texts, strict=True)]
        prompts = [self._prompt(view) for view in views]
        rows = [Row(p + c + t, image_of[i]) for i, (p, (c, t)) in enumerate(zip(prompts, parts, strict=True))]
        hidden = self._hidden(rows, pixel_values, grid_thw)
        lengths = [len(text) for _, text in parts]
        # The state before a token predicts it.
        places = [(i, len(row.ids) - n - 1 + k) for i, (row, n) in enumerate(zip(rows, lengths)) for k in range(n)]
        where, when = torch.tensor(places, device=self.device).T
        logps = self.net.lm_head(hidden[where, when]).float().log_softmax(-1)  # [all tokens of all texts, V]
        tokens = torch.tensor([token for _, text in parts for token in text], device=self.device)
        return torch.stack([part.sum() for part in logps.gather(1, tokens[:, None])[:, 0].split(lengths)])

    def features(self, pixels: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Per image (tokens, D) float32; deeper features that Qwen3-VL adds inside the text model stand beside."""
        pixel_values, grid_thw, image_of = self._patches(pixels)
        out = self.net.model.get_image_features(pixel_values, grid_thw, return_dict=True)
        levels = [out.pooler_output, *(getattr(out, "deepstack_features", None) or [])]
        distinct = [torch.cat(parts, -1).float() for parts in zip(*levels, strict=True)]
        return [distinct[i] for i in image_of]

    def slot_features(
        self, pixels: Sequence[torch.Tensor], views: Sequence[View], prefixes: Sequence[str] | None = None
    ) -> torch.Tensor:
        """(N, D) float32 last hidden state where the answer letter is predicted."""
        return self._slot_hidden(views, self._slots(views, prefixes), *self._patches(pixels)).float()

    def _patches(self, pixels: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
        """Pixel values and grids of the distinct images, and which of them each view has. One tensor, one image."""
        distinct = {id(image): image for image in pixels}
        order = {key: place for place, key in enumerate(distinct)}
        pixel_values, grid_thw = patchify(list(distinct.values()), self._grid)
        return pixel_values, grid_thw.to(self.device), [order[id(image)] for image in pixels]

    def _slot_logits(
        self,
        views: Sequence[View],
        slots: Sequence[AnswerSlot],
        pixel_values: torch.Tensor | None,
        grid_thw: torch.Tensor | None,
        image_of: Sequence[int | None],
    ) -> torch.Tensor:
        """(B, V) logits of the token after each slot's context; the head runs on that one position only."""
        return torch.as_tensor(self.net.lm_head(self._slot_hidden(views, slots, pixel_values, grid_thw, image_of)))

    def _slot_hidden(
        self,
        views: Sequence[View],
        slots: Sequence[AnswerSlot],
        pixel_values: torch.Tensor | None,
        grid_thw: torch.Tensor | None,
        image_of: Sequence[int | None],
    ) -> torch.Tensor:
        """(B, D) last hidden states at the end of each slot's context."""
        rows = [Row(self._prompt(v) + s.context, image_of[i]) for i, (v, s) in enumerate(zip(views, slots))]
        hidden = self._hidden(rows, pixel_values, grid_thw)
        last = [len(row.ids) - 1 for row in rows]
        return hidden[torch.arange(len(rows), device=self.device), torch.tensor(last, device=self.device)]

    def _hidden(
        self, rows: Sequence[Row], pixel_values: torch.Tensor | None, grid_thw: torch.Tensor | None
    ) -> torch.Tensor:
        """(B, T, D) last hidden states of the rows, padded right."""
        batch = pad_rows(rows, self.chat.image_token_id, self._pad_id, left=False).to(self.device)
        inputs: dict[str, Any] = {}
        if grid_thw is not None:
            inputs = {"pixel_values": pixel_values, "image_grid_thw": grid_thw[list(batch.image_rows)]}
        with encode_once(self.net, grid_thw, batch.image_rows):
            output = self.net.model(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                position_ids=positions(self.net, batch, grid_thw),
                mm_token_type_ids=batch.token_types,
                use_cache=False,
                **inputs,
            )
        return torch.as_tensor(output.last_hidden_state)

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
        return pad_id(self.chat.tokenizer)

    def _eos_ids(self) -> list[int]:
        return end_ids(self.net, self.chat.tokenizer)

    def _vision_ids(self) -> list[int]:
        return vision_ids(self.net)


def _margin(logits: torch.Tensor, slot: AnswerSlot, view: View) -> torch.Tensor:
    """(V,) logits at the slot -> scalar."""
    letters = logits[list(slot.letters)]
    wrong = torch.arange(len(letters), device=letters.device) != view.item.answer_index
    return letters[wrong].max() - letters[view.item.answer_index]


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
