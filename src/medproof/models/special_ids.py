"""Token ids with a meaning: those that end a turn, those that stand for pixels, the one that pads."""

from __future__ import annotations

from typing import Any


def end_ids(net: Any, tokenizer: Any) -> list[int]:
    """Ids that end the assistant's turn: those of the generation config and the tokenizer's own."""
    known = net.generation_config.eos_token_id
    listed = known if isinstance(known, list) else [known]
    return sorted({int(i) for i in [*listed, tokenizer.eos_token_id] if i is not None})


def vision_ids(net: Any) -> list[int]:
    """Ids that stand for pixels: written into a reply they would break the next forward pass."""
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    return sorted({int(i) for n in names if (i := getattr(net.config, n, None)) is not None})


def pad_id(tokenizer: Any) -> int:
    """The padding id; the end token where the tokenizer has none."""
    pad = tokenizer.pad_token_id
    return int(pad if pad is not None else tokenizer.eos_token_id)
