"""Load and save Qwen-VL folders: safetensors only, stock image processor, our grid read from its parameters."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from medproof.errors import UserError
from medproof.images.grid import Grid
from medproof.models.builtin import CHECKPOINTS, checkpoint
from medproof.models.chat import Chat
from medproof.models.qwen_vl import QwenVL

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")


def load_qwen_vl(spec: str, *, device: str = "auto", dtype: str = "auto", attention: str = "auto") -> QwenVL:
    """See `medproof.models.load`."""
    target = pick_device(device)
    net = load_net(spec, target, pick_dtype(dtype, target), attention)
    chat, grid, image_processor = load_processor(spec)
    # A rationale of nano is some 35 tokens long; a full-size model gets room to reason.
    budget = 96 if net.config.text_config.hidden_size <= 256 else 512
    # One trained to write more says so in its generation_config.json.
    budget = max(budget, getattr(net.generation_config, "max_new_tokens", None) or 0)
    return QwenVL(net.to(target), chat, grid, image_processor, name=spec, max_new_tokens=budget)


def load_net(spec: str, device: torch.device, dtype: torch.dtype, attention: str = "auto") -> PreTrainedModel:
    """The bare network of `spec` on the CPU, an adapter merged into its base. Raises UserError as `models.load`."""
    transformers_logging.disable_progress_bar()
    source, adapter = _resolve(spec)
    net = AutoModelForImageTextToText.from_pretrained(
        source,
        config=_config(spec, source),
        dtype=dtype,
        attn_implementation=pick_attention(attention, device),
        use_safetensors=True,
    )
    return net if adapter is None else _merge_adapter(net, adapter)


def load_processor(spec: str) -> tuple[Chat, Grid, Any]:
    """Chat, grid and stock (PIL) image processor of `spec`; an adapter without its own uses those of its base."""
    source, adapter = _resolve(spec)
    config = _config(spec, source)
    folder = adapter if adapter and (Path(adapter) / "preprocessor_config.json").is_file() else source
    tokenizer = AutoTokenizer.from_pretrained(folder)
    image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    grid = Grid.from_processor_config(image_processor.to_dict())
    return Chat(tokenizer, int(config.image_token_id), spec), grid, image_processor


def save_folder(folder: Path, net: PreTrainedModel, tokenizer: Any, processor: dict[str, Any]) -> None:
    """A folder that plain transformers loads: weights (safetensors), config, tokenizer, image processor parameters."""
    transformers_logging.disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    net.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    text = json.dumps(processor, indent=2, sort_keys=True) + "\n"
    (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")


def pick_device(device: str) -> torch.device:
    """`auto`: the GPU if there is one. Raises UserError for a device this machine lacks."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"device {device!r} is unknown: use auto, cpu, cuda or cuda:N") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device {device!r} was asked for but torch sees no GPU: use --device cpu")
    return chosen


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """`auto`: bfloat16 on a GPU, float32 on a CPU."""
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in named:
        raise UserError(f"dtype {dtype!r} is unknown: use auto, float32 or bfloat16")
    return named[dtype]


def pick_attention(attention: str, device: torch.device) -> str:
    """`auto`: flash attention on a GPU that has the package, else SDPA."""
    if attention != "auto":
        return attention
    has_flash = device.type == "cuda" and importlib.util.find_spec("flash_attn") is not None
    return "flash_attention_2" if has_flash else "sdpa"


def _resolve(spec: str) -> tuple[str, str | None]:
    """(base model source, adapter folder or None)."""
    if spec in CHECKPOINTS:
        return str(checkpoint(spec)), None
    folder = Path(spec)
    if not folder.is_dir():
        looks_local = spec.startswith((".", "/", "~")) or folder.exists() or spec.count("/") != 1
        if looks_local:
            raise UserError(
                f"model {spec!r} not found: give {', '.join(CHECKPOINTS)}, a folder with config.json, or a hub id "
                "(owner/name)"
            )
        return spec, None
    adapter = folder / "adapter_config.json"
    if adapter.is_file():
        base = json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path")
        if not base:
            raise UserError(f"adapter {spec} names no base model: set base_model_name_or_path in adapter_config.json")
        return _resolve(base)[0], str(folder)
    if not (folder / "config.json").is_file():
        raise UserError(f"model folder {spec} has no config.json: point at the folder that save_pretrained wrote")
    return str(folder), None


def _config(spec: str, source: str) -> Any:
    try:
        config = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"model {spec!r} could not be loaded ({first}): give {', '.join(CHECKPOINTS)}, a local folder or a hub id"
        ) from error
    if config.model_type not in FAMILIES:
        raise UserError(f"model {spec!r} is of type {config.model_type!r}: supported are {', '.join(FAMILIES)}")
    return config


def _merge_adapter(net: PreTrainedModel, adapter: str) -> PreTrainedModel:
    from peft import PeftModel

    merged: PreTrainedModel = PeftModel.from_pretrained(net, adapter).merge_and_unload()
    return merged
