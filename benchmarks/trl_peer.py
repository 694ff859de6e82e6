"""One GRPO run in TRL, as its documentation shows it, on a folder that plain transformers loads: peer of grpo_step.py.

Its processor for Qwen2-VL needs torchvision for videos, which does not import beside CPU torch; `Processor` is the same
for images, over the stock PIL image processor.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import torch
from any_reward import any_reward
from PIL import Image
from transformers import AutoTokenizer, BatchFeature, ProcessorMixin, Qwen2VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from trl import GRPOConfig, GRPOTrainer

from datasets import Dataset

IMAGE = "<|image_pad|>"


class Processor(ProcessorMixin):  # type: ignore[misc]
    """Images and text to tensors, every image marker repeated once per visual token."""

    attributes = ("image_processor", "tokenizer")
    image_processor_class = "AutoImageProcessor"
    tokenizer_class = "AutoTokenizer"

    def __init__(self, image_processor: Any, tokenizer: Any) -> None:
        self.image_processor = image_processor
        self.tokenizer = tokenizer
        self.chat_template = tokenizer.chat_template

    def __call__(self, images: Any = None, text: Any = None, **options: Any) -> BatchFeature:
        texts = [text] if isinstance(text, str) else list(text)
        known = ("padding", "padding_side", "max_length", "truncation", "add_special_tokens")
        options = {name: value for name, value in options.items() if name in known}
        out: dict[str, Any] = {}
        if images is not None:
            flat = [one for entry in images for one in (entry if isinstance(entry, list | tuple) else [entry])]
            out = dict(self.image_processor(images=flat, return_tensors="pt"))
            counts = iter((out["image_grid_thw"].prod(-1) // self.image_processor.merge_size**2).tolist())
            texts = [self._expand(entry, counts) for entry in texts]
        encoded = self.tokenizer(texts, **options)
        image_id = self.tokenizer.convert_tokens_to_ids(IMAGE)
        types = [[int(token == image_id) for token in row] for row in encoded["input_ids"]]
        rows = {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}
        out |= {**rows, "mm_token_type_ids": types}
        return BatchFeature(out, tensor_type="pt" if options.get("padding") else None)

    @staticmethod
    def _expand(text: str, counts: Any) -> str:
        first, *rest = text.split(IMAGE)
        return first + "".join(IMAGE * next(counts) + part for part in rest)


def step_times(
    folder: Path, prompts: list[tuple[str, Image.Image]], generations: int, tokens: int, steps: int, out: Path
) -> dict[str, Any]:
    """Seconds per optimizer step, the first left out: every step samples all prompts and takes one update on them."""
    rows = [
        {"prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}], "image": image}
        for text, image in prompts
    ]
    on_gpu = torch.cuda.is_available()
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    config = GRPOConfig(
        output_dir=str(out),
        per_device_train_batch_size=len(prompts) * generations,
        num_generations=generations,
        max_completion_length=tokens,
        max_steps=steps + 1,
        learning_rate=1e-6,
        beta=0.0,
        temperature=1.0,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        use_cpu=not on_gpu,
        bf16=on_gpu,
        # On by default, to save memory; here the two are to do the same work.
        gradient_checkpointing=False,
        shuffle_dataset=False,
    )
    trainer = GRPOTrainer(
        model=Qwen2VLForConditionalGeneration.from_pretrained(
            folder, dtype=torch.bfloat16 if on_gpu else torch.float32
        ),
        reward_funcs=any_reward,
        args=config,
        train_dataset=Dataset.from_list(rows * (steps + 1)),
        processing_class=Processor(Qwen2VLImageProcessorPil.from_pretrained(folder), tokenizer),
    )
    trainer.train()
    log = [row for row in trainer.state.log_history if "step_time" in row][1:]
    return {
        "step_s": statistics.median(row["step_time"] for row in log),
        "steps_s": [round(row["step_time"], 3) for row in log],
        "mean_length": statistics.fmean(row["completions/mean_length"] for row in log),
    }
