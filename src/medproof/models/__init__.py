"""Models behind one protocol. Importing this package is light; `load` brings in torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from medproof.models.builtin import BASELINES

if TYPE_CHECKING:
    from medproof.models.baselines import Baseline
    from medproof.models.openai import OpenAIModel
    from medproof.models.qwen_vl import QwenVL
    from medproof.records import Item

__all__ = ["load"]


def load(
    spec: str,
    *,
    device: str = "auto",
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
    attention: str = "auto",
    train: Sequence[Item] = (),
) -> QwenVL | OpenAIModel | Baseline:
    """Load a built-in model (`builtin.CHECKPOINTS`), a local folder (full model or PEFT adapter) or a hub id.

    `openai:URL#NAME` is a model behind a server: level 1 of the protocol; device, dtype and attention are the server's.
    `majority` and `option_count` are baselines without pixels, fitted on the training items of `train`; level 1 too.

    dtype "auto": bfloat16 on a GPU, float32 on a CPU. attention "auto": flash attention where installed, else SDPA.
    Raises UserError when the model cannot be found or is not of the Qwen2-VL, Qwen2.5-VL or Qwen3-VL family.
    """
    if spec.startswith("openai:"):
        from medproof.models.openai import load_openai

        return load_openai(spec)
    if spec in BASELINES:
        from medproof.models.baselines import load_baseline

        return load_baseline(spec, train)
    from medproof.models.loading import load_qwen_vl

    return load_qwen_vl(spec, device=device, dtype=dtype, attention=attention)
