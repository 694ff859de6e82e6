"""Prompts of unequal length and size, and the slow way to sample: one row, no cache, the whole sequence every time."""

from collections.abc import Sequence

import numpy as np
import torch

from medproof.images.preprocess import patchify
from medproof.models.batch import Row, pad_rows, positions
from medproof.models.encode_once import encode_once
from medproof.models.prompts import messages
from medproof.models.qwen_vl import QwenVL
from medproof.models.sampling import draw, uniforms
from medproof.models.special_ids import end_ids, vision_ids
from medproof.records import Item, Mode, View
from medproof.seeds import derive_seed
from medproof.training.groups import Group, Images, Prompt
from medproof.training.rollout.engine import Sampling

MODES: tuple[Mode, ...] = ("direct", "think", "think_after")


def make_prompts(model: QwenVL, sizes: Sequence[tuple[int, int]], modes: Sequence[Mode] = MODES) -> list[Prompt]:
    """One prompt per size (a size comes again as the same image), questions of unequal length."""
    prompts = []
    for number, size in enumerate(sizes):
        item = Item(
            id=f"case-{number}/modality",
            image="x.png",
            case=f"case-{number}",
            modality="CT",
            question_type="Modality Recognition",
            question="Which technique made this?" + " Look at it again." * (number % 3),
            options=("CT", "MRI", "Ultrasound", "X-ray"),
            answer="CT",
        )
        mode = modes[number % len(modes)]
        image = np.random.default_rng(list(sizes).index(size)).integers(0, 256, (*size, 3), dtype=np.uint8)
        text = messages(item, mode)
        ids = model.chat.prompt_ids(text, model.grid.tokens(*size))
        prompts.append(Prompt(item, mode, text, image, ids, seed=100 + number))
    return prompts


def views(prompts: Sequence[Prompt]) -> list[View]:
    return [View(p.item, "clean", p.mode, p.messages, p.image) for p in prompts]


def texts(groups: Sequence[Group]) -> list[list[str]]:
    return [[c.text for c in group.completions] for group in groups]


def written(groups: Sequence[Group]) -> list[list[tuple[int, ...]]]:
    return [[c.ids for c in group.completions] for group in groups]


@torch.no_grad()
def next_logits(model: QwenVL, pixels: torch.Tensor, ids: tuple[int, ...], banned: Sequence[int]) -> torch.Tensor:
    """(V,) logits behind `ids`, by one forward pass over all of them; -inf for those banned."""
    batch = pad_rows([Row(ids, 0)], model.chat.image_token_id, 0, left=False)
    pixel_values, grid_thw = patchify([pixels], model.grid)
    with encode_once(model.net, grid_thw, [0]):
        hidden = model.net.model(
            input_ids=batch.input_ids,
            position_ids=positions(model.net, batch, grid_thw),
            mm_token_type_ids=batch.token_types,
            pixel_values=pixel_values,
            image_grid_thw=grid_thw,
            use_cache=False,
        ).last_hidden_state
    logits: torch.Tensor = model.net.lm_head(hidden[0, -1]).float()
    logits[list(banned)] = -torch.inf
    return logits


def slow_ids(model: QwenVL, prompt: Prompt, pixels: torch.Tensor, g: int, sampling: Sampling) -> tuple[int, ...]:
    """Completion g of a prompt."""
    seed = derive_seed(prompt.seed, str(g), "sample")
    uniform = uniforms([seed], sampling.max_completion_length)[0]
    ids: tuple[int, ...] = ()
    for number in uniform:
        logits = next_logits(model, pixels, prompt.ids + ids, vision_ids(model.net))
        token = draw(logits[None], number[None], sampling.temperature, sampling.top_p, sampling.top_k)
        ids += (int(token),)
        if ids[-1] in end_ids(model.net, model.chat.tokenizer):
            break
    return ids


def slow_rollout(model: QwenVL, prompts: Sequence[Prompt], images: Images, sampling: Sampling) -> list:
    """`written` of what an engine should give."""
    return [
        [slow_ids(model, p, images.pixels[images.of[i]], g, sampling) for g in range(sampling.num_generations)]
        for i, p in enumerate(prompts)
    ]
