"""Where numbers come from: versions, hardware, and the run.json that holds them."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medproof.models.builtin import CHECKPOINTS, checkpoint
from medproof.models.protocol import Model
from medproof.records import Condition, Decoding, Mode
from medproof.runs.versions import versions

if TYPE_CHECKING:
    from medproof.datasets import Dataset

_MAX_TRAINING = 2**20  # bytes


def hardware(device: str | None = None) -> dict[str, Any]:
    """What the run ran on: platform, processor, cores, memory (GiB), and the device ("cpu", "cuda:0") by name."""
    return {
        "platform": platform.platform(),
        "cpu": _processor(),
        "cores": _cores(),
        "memory_gib": _memory_gib(),
        "device": device or "cpu",
        "device_name": _device_name(device or "cpu"),
    }


def run_meta(
    model: Model,
    model_spec: str,
    dataset: "Dataset",
    conditions: Sequence[Condition],
    *,
    mode: Mode,
    seed: int,
    split: str = "all",
    limit: int | None = None,
    command: Sequence[str] | str = (),
    text_prior: dict[str, Any] | None = None,
    decoding: Decoding | None = None,
) -> dict[str, Any]:
    """The content of run.json for `RunStore.create`, which redacts it. `decoding` as given to `evaluate`.

    `training` is there where the model is a folder that `medproof train` wrote: what it was trained on, and from where.
    """
    grid = model.grid
    trained = training(model_spec)
    meta = {
        "schema": 1,
        "model": model_spec,
        "model_name": model.name,
        "mode": mode,
        "dataset": dataset.name,
        "split": split,
        "limit": limit,
        "seed": seed,
        "conditions": [condition.key for condition in conditions],
        "decoding": (decoding or model.decoding(mode)).model_dump(mode="json"),
        "weights_hash": model.weights_hash,
        "processor_hash": model.processor_hash,
        "dataset_fingerprint": dataset.fingerprint,
        "quarantined": [{"where": row.where, "reason": row.reason} for row in dataset.quarantined],
        "versions": versions(),
        "hardware": hardware(_device_of(model)),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "text_prior": text_prior,
        "command": command if isinstance(command, str) else list(command),
        "grid": None if grid is None else grid.to_json(),
    }
    return meta if trained is None else meta | {"training": trained}


def training(model_spec: str) -> dict[str, Any] | None:
    """The training.json beside a local or built-in model; None where there is none, or none that can be read."""
    folder = checkpoint(model_spec) if model_spec in CHECKPOINTS else Path(model_spec)
    try:
        with open(folder / "training.json", "rb") as file:
            content = json.loads(file.read(_MAX_TRAINING))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _device_of(model: Model) -> str | None:
    device = getattr(model, "device", None)
    return None if device is None else str(device)


def _device_name(device: str) -> str:
    torch = sys.modules.get("torch")  # a model on a GPU has imported it
    if device.startswith("cuda") and torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(device))
    return _processor() if device == "cpu" else device


def _processor() -> str:
    """The processor's name; /proc/cpuinfo says more than `platform` on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None  # not told on this platform
