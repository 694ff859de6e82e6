"""White-box adapter for Qwen2-VL, Qwen2.5-VL and Qwen3-VL through transformers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from transformers import LogitsProcessorList, PreTrainedModel

from medproof.images.grid import Grid
from medproof.images.preprocess import patchify_copies
from medproof.models.attention import use_grouped_vision_attention
from medproof.models.batch import Images, Row, pad_rows
from medproof.models.chat import AnswerSlot, Chat
from medproof.models.copies import letter_logits
from medproof.models.encode_once import encode_once
from medproof.models.patch_embed import still, use_linear_patch_embedding
from medproof.models.prompts import ANSWER_CLOSE, ANSWER_OPEN
from medproof.models.protocol import Objective, Reply
from medproof.models.row_ends import end_states, lay_out
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
        # The steps of an attack ask for the same rows again and again.
        self._layout = lru_cache(maxsize=4)(partial(lay_out, net, chat.image_token_id, pad_id(chat.tokenizer)))
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
        seeds = [derive_seed(seed, view.item.id, f"sample:{view.condition}:{view.mode}") for view in views]
        return self._decode(views, decoding, seeds, self._stock_pixels(views))

    @torch.inference_mode()
    def copy_letters(
        self, copies: Sequence[torch.Tensor], views: Sequence[Sequence[View]], rows: int
    ) -> list[list[torch.Tensor]]:
        """Per image and question (n, K): logits of its letters on the image's n noisy copies."""
        return letter_logits(self.net, self.chat, self._grid, copies, views, rows)

    @torch.inference_mode()
    def copy_replies(self, copies: torch.Tensor, view: View, decoding: Decoding, seeds: Sequence[int]) -> list[Reply]:
        """One reply per noisy copy (n, 3, H, W) of the view's image; `seeds`: one per copy."""
        pixel_values, grid_thw = patchify_copies(copies, self._grid)
        images = Images(pixel_values, grid_thw, range(len(copies)))
        return self._decode([view] * len(copies), decoding, seeds, images)

    def _decode(self, views: Sequence[View], decoding: Decoding, seeds: Sequence[int], images: Images) -> list[Reply]:
        """One reply per view; `seeds`: used where sampled."""
        prompts = [self._prompt(view) for view in views]
        rows = [Row(ids, image) for ids, image in zip(prompts, images.image_of, strict=True)]
        batch = pad_rows(rows, self.chat.image_token_id, self._pad_id, left=True).to(self.device)
        extra: dict[str, Any] = {}
        if decoding.temperature > 0:
            sampler = SeededSampler(seeds, decoding.max_new_tokens, decoding.temperature, decoding.top_p)
            extra["logits_processor"] = LogitsProcessorList([sampler])
        inputs: dict[str, Any] = {"mm_token_type_ids": batch.token_types}
        if images.grid_thw is not None:
            grid_thw = images.grid_thw[list(batch.image_rows)]
            inputs |= {"pixel_values": images.pixel_values, "image_grid_thw": grid_thw}
        with encode_once(self.net, images.grid_thw, batch.image_rows):
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
        slots = self._slots(views, prefixes)
        logits = self._slot_logits(views, slots, self._stock_pixels(views)).double()
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
        logits = self._slot_logits(views, slots, self._patches(pixels)).float()
        return _margins(logits, slots, [view.item.answer_index for view in views])

    def letter_logprobs(
        self, pixels: Sequence[torch.Tensor], views: Sequence[View], prefixes: Sequence[str] | None = None
    ) -> list[torch.Tensor]:
        """Per view (K,): log p of its letters at the answer slot, over the whole vocabulary."""
        slots = self._slots(views, prefixes)
        logps = self._slot_logits(views, slots, self._patches(pixels)).float().log_softmax(-1)
        return [logps[i, list(slot.letters)] for i, slot in enumerate(slots)]

    def continuation_logprobs(
        self,
        pixels: Sequence[torch.Tensor],
        views: Sequence[View],
        texts: Sequence[str],
        prefixes: Sequence[str] | None = None,
    ) -> torch.Tensor:
        """(N,) log p of each text behind its prefix, summed over its tokens; the head runs on those positions only."""
        parts = [self.chat.continuation(p, t) for p, t in zip(prefixes or [""] * len(views), texts, strict=True)]
        # The state of the token before predicts a token, so the last one need not be read.
        ids = [self._prompt(v) + context + text[:-1] for v, (context, text) in zip(views, parts, strict=True)]
        lengths = [len(text) for _, text in parts]
        logits = self.net.lm_head(self._end_states(ids, lengths, self._patches(pixels)))
        tokens = torch.tensor([token for _, text in parts for token in text], device=self.device)
        logps = logits.float().log_softmax(-1).gather(1, tokens[:, None])[:, 0]  # [all tokens of all texts]
        return torch.stack([part.sum() for part in logps.split(lengths)])

    def features(self, pixels: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Per image (tokens, D) float32; deeper features that Qwen3-VL adds inside the text model stand beside."""
        pixel_values, grid_thw, image_of = self._patches(pixels)
        out = self.net.model.get_image_features(pixel_values, grid_thw, return_dict=True)
        levels = [out.pooler_output, *(getattr(out, "deepstack_features", None) or [])]
        distinct = [torch.cat(parts, -1).float() for parts in zip(*levels, strict=True)]
        return [distinct[i] for i in image_of if i is not None]

    def slot_features(
        self, pixels: Sequence[torch.Tensor], views: Sequence[View], prefixes: Sequence[str] | None = None
    ) -> torch.Tensor:
        """(N, D) float32 last hidden state where the answer letter is predicted."""
        return self._slot_hidden(views, self._slots(views, prefixes), self._patches(pixels)).float()

    def _patches(self, pixels: Sequence[torch.Tensor]) -> Images:
        """Distinct images, differentiable. One tensor, one image."""
        distinct = {id(image): image for image in pixels}
        order = {key: place for place, key in enumerate(distinct)}
        alike = [torch.stack(list(run)) for _, run in groupby(distinct.values(), key=lambda image: image.shape)]
        one_frame = replace(self._grid, temporal_patch_size=1)
        patches, sizes = zip(*(patchify_copies(images, one_frame) for images in alike), strict=True)
        image_of = [order[id(image)] for image in pixels]
        return Images(still(torch.cat(patches), self._grid), torch.cat(sizes).to(self.device), image_of)

    def _slot_logits(self, views: Sequence[View], slots: Sequence[AnswerSlot], images: Images) -> torch.Tensor:
        """(B, V) logits of the token after each slot's context."""
        return torch.as_tensor(self.net.lm_head(self._slot_hidden(views, slots, images)))

    def _slot_hidden(self, views: Sequence[View], slots: Sequence[AnswerSlot], images: Images) -> torch.Tensor:
        """(B, D) last hidden states at the end of each slot's context."""
        return self._end_states([self._prompt(v) + s.context for v, s in zip(views, slots)], [1] * len(views), images)

    def _end_states(self, ids: Sequence[tuple[int, ...]], counts: Sequence[int], images: Images) -> torch.Tensor:
        """(sum of counts, D) last hidden states of the last counts[i] tokens of ids[i], which shows its image."""
        rows = tuple(Row(row, image) for row, image in zip(ids, images.image_of, strict=True))
        if images.grid_thw is None:
            return end_states(self.net, self._layout(rows, tuple(counts), ()), None)
        layout = self._layout(rows, tuple(counts), tuple(map(tuple, images.grid_thw.tolist())))
        features = self.net.model.get_image_features(images.pixel_values, images.grid_thw, return_dict=True)
        return end_states(self.net, layout, features)

    def _prompt(self, view: View) -> tuple[int, ...]:
        tokens = 0 if view.image is None else self._grid.tokens(*view.image.shape[:2])
        return self.chat.prompt_ids(view.messages, tokens)

    def _slots(self, views: Sequence[View], prefixes: Sequence[str] | None) -> list[AnswerSlot]:
        texts = prefixes if prefixes is not None else [ANSWER_OPEN] * len(views)
        return [self.chat.answer_slot(v.item.letters, text) for v, text in zip(views, texts, strict=True)]

    def _stock_pixels(self, views: Sequence[View]) -> Images:
        """Distinct images through the model's own (stock) processor."""
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
            return Images(None, None, image_of)
        out = self._image_processor(images=images, return_tensors="pt")
        pixel_values = out["pixel_values"].to(self.device)
        return Images(pixel_values, out["image_grid_thw"].to(self.device), image_of)

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


def _margins(logits: torch.Tensor, slots: Sequence[AnswerSlot], answers: Sequence[int]) -> torch.Tensor:
    """(N, V) logits at the slots -> (N,) best wrong letter - right letter."""
    right = torch.tensor([slot.letters[k] for slot, k in zip(slots, answers, strict=True)], device=logits.device)
    wrong = [[*slot.letters[:k], *slot.letters[k + 1 :]] for slot, k in zip(slots, answers, strict=True)]
    most = max(map(len, wrong))
    # The shorter lists of options are filled up with their first one, which changes no maximum.
    columns = torch.tensor([ids + ids[:1] * (most - len(ids)) for ids in wrong], device=logits.device)
    return logits.gather(1, columns).max(1).values - logits.gather(1, right[:, None])[:, 0]


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
