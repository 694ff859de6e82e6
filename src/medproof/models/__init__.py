"""Models behind one protocol. Importing this package is light; `load` brings in torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from medproof.models.openai import OpenAIModel
    from medproof.models.qwen_vl import QwenVL

__all__ = ["load"]


def load(
    spec: str, *, device: str = "auto", dtype: Literal["auto", "float32", "bfloat16"] = "auto", attention: str = "auto"
) -> QwenVL | OpenAIModel:
    """Load `nano`, `nano-robust`, a local folder (full model or PEFT adapter) or a hub id as a white-box model.

    `openai:URL#NAME` is a model behind a server: level 1 of the protocol; device, dtype and attention are the server's.

    dtype "auto": bfloat16 on a GPU, float32 on a CPU. attention "auto": flash attention where installed, else SDPA.
    Raises UserError when the model cannot be found or is not of the Qwen2-VL, Qwen2.5-VL or Qwen3-VL family.
    """
    if spec.startswith("openai:"):
        from medproof.models.openai import load_openai

        return load_openai(spec)
    from medproof.models.loading import load_qwen_vl

    return load_qwen_vl(spec, device=device, dtype=dtype, attention=attention)
