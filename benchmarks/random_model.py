"""Random weights in a published shape, with nano's tokenizer: for timing only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from medproof.images.grid import Grid
from medproof.models import nano
from medproof.models.chat import Chat
from medproof.models.loading import load_processor, save_folder


def save_random_model(folder: Path, shape: str, size: int, seed: int) -> None:
    """A folder of random weights that plain transformers loads. shape: "nano", or "2b" with images of `size` pixels."""
    chat, _, _ = load_processor("nano")
    if shape == "nano":
        grid, dtype = nano.GRID, torch.float32
        net: Any = nano.build_net(nano.build_config(chat.tokenizer), seed)
    else:
        from transformers import Qwen2VLForConditionalGeneration

        grid, dtype = square_grid(size), torch.bfloat16
        torch.manual_seed(seed)
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            net = Qwen2VLForConditionalGeneration(qwen2_vl_2b_config(chat))
    save_folder(folder, net.to(dtype), chat.tokenizer, nano.processor_config(grid))


def qwen2_vl_2b_config(chat: Chat) -> Any:
    """Qwen2-VL-2B's shape, with the ids of `chat`'s markers."""
    from transformers import Qwen2VLConfig

    tokenizer = chat.tokenizer
    text = {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    }
    marks = ("image_pad", "video_pad", "vision_start", "vision_end")
    ids = {mark: int(tokenizer.convert_tokens_to_ids(f"<|{mark}|>")) for mark in marks}
    return Qwen2VLConfig(
        text_config=text,
        vision_config={"depth": 32, "embed_dim": 1280, "hidden_size": 1536, "num_heads": 16, "mlp_ratio": 4},
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
        tie_word_embeddings=True,
    )


def square_grid(side: int) -> Grid:
    """A grid on which a square image gets about `side` pixels a side."""
    return Grid(min_pixels=side * side - side * 28, max_pixels=side * side + side * 28)
