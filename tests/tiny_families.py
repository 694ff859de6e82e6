"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL with random weights, small enough for a test, saved as folders."""

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForImageTextToText

from medproof.images.grid import Grid
from medproof.models import nano
from medproof.models.loading import save_folder

ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 2048,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
    "rope_parameters": ROPE,
}
VISION: dict[str, dict[str, Any]] = {
    "qwen2_vl": {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2},
    "qwen2_5_vl": {
        "depth": 3,
        "hidden_size": 32,
        "intermediate_size": 48,
        "out_hidden_size": 64,
        "num_heads": 2,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    },
    "qwen3_vl": {
        "depth": 3,
        "hidden_size": 32,
        "intermediate_size": 48,
        "out_hidden_size": 64,
        "num_heads": 2,
        "patch_size": 16,
        "num_position_embeddings": 256,
        "deepstack_visual_indexes": [0, 1],
    },
}
SIZES = {"qwen2_vl": [(112, 112), (84, 112)], "qwen2_5_vl": [(112, 112), (84, 112)], "qwen3_vl": [(96, 96), (64, 96)]}


def build_config(family: str, ids: dict[str, int]) -> Any:
    name = {"qwen2_vl": "Qwen2VLConfig", "qwen2_5_vl": "Qwen2_5_VLConfig", "qwen3_vl": "Qwen3VLConfig"}[family]
    return getattr(transformers, name)(
        text_config={**TEXT, "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"]},
        vision_config=VISION[family],
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )


def save_family(family: str, folder: Path, tokenizer: Any) -> None:
    """A folder that `models.load` takes; `tokenizer` is one of nano's."""
    ids = {token: int(tokenizer.convert_tokens_to_ids(token)) for token in nano.SPECIAL}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = AutoModelForImageTextToText.from_config(build_config(family, ids))
    patch = 16 if family == "qwen3_vl" else 14
    grid = Grid(patch_size=patch, min_pixels=(2 * patch) ** 2, max_pixels=(8 * patch) ** 2)
    save_folder(folder, net, tokenizer, nano.processor_config(grid))
