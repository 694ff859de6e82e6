"""TRL's GRPOTrainer, bare: its own methods without a model, data or set-up."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn


class Model(nn.Identity):
    is_gradient_checkpointing = False


class Alone:
    """What GRPOTrainer asks of its accelerator, for one process."""

    device = torch.device("cpu")
    num_processes = 1
    process_index = 0
    is_main_process = True
    sync_gradients = True

    @staticmethod
    def gather(tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    @staticmethod
    def reduce(tensor: torch.Tensor, reduction: str) -> torch.Tensor:
        return tensor


def trl_trainer(accumulation: int = 1, **attributes: Any) -> Any:
    """A GRPOTrainer without model, data and set-up: only what the methods under test read."""
    trl = pytest.importorskip("trl", reason="TRL is absent: pip install medproof[peers]; the golden values are tested")
    if not trl.__version__.startswith("1.16."):
        pytest.skip(f"TRL {trl.__version__} is installed; the comparison reads internals of 1.16")
    from trl import GRPOTrainer

    trainer = object.__new__(GRPOTrainer)
    trainer.args = SimpleNamespace(
        delta=None,
        use_bias_correction_kl=False,
        steps_per_generation=accumulation,
        gradient_accumulation_steps=accumulation,
        per_device_train_batch_size=1,
        gradient_checkpointing_kwargs=None,
        report_to=[],
    )
    settings = {
        "accelerator": Alone(),
        "model": Model(),
        "_metrics": {"train": defaultdict(list)},
        "_logs": defaultdict(lambda: defaultdict(list)) | {name: [] for name in ("prompt", "completion", "advantages")},
        "current_gradient_accumulation_steps": accumulation,
        "aux_loss_enabled": False,
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
        "use_vllm": False,
        "_entropy_bonus_enabled": False,
    }
    for name, value in (settings | attributes).items():
        setattr(trainer, name, value)
    return trainer
