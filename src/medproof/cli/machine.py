"""Checks of the machine: versions, devices, memory, extras."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

FLOORS = {"torch": "2.11", "transformers": "5.17"}
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "dicom": ("pydicom", "nibabel"),
    "corruptions": ("monai",),
    "serve": ("fastapi", "uvicorn", "prometheus_client"),
    "ray": ("ray",),
    "vllm": ("vllm",),
    "inspect": ("inspect_ai",),
}
LOW_MEMORY_GIB = 2.0
GIB = 1024**3


@dataclass(frozen=True)
class Check:
    """One row of `medproof doctor`."""

    name: str
    state: Literal["ok", "warn", "absent"]
    found: str
    remedy: str = ""


def machine_checks() -> list[Check]:
    """Everything that needs no model."""
    return [*_versions(), *_devices(), _memory(), *_extras()]


def _release(text: str) -> tuple[int, ...]:
    """The numbers of a version: "2.13.0+cpu" -> (2, 13, 0)."""
    numbers = []
    for part in text.split("+")[0].split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def version_check(name: str, found: str, floor: str) -> Check:
    """Whether `found` is at least `floor`."""
    if _release(found) >= _release(floor):
        return Check(name, "ok", found)
    return Check(name, "warn", found, f"older than {floor}, the oldest tested: pip install -U {name}")


def _versions() -> list[Check]:
    return [
        Check("python", "ok", platform.python_version()),
        Check("medproof", "ok", version("medproof")),
        *(version_check(name, version(name), floor) for name, floor in FLOORS.items()),
    ]


def _devices() -> list[Check]:
    import torch

    checks = [Check("cpu", "ok", f"{os.cpu_count()} cores, {torch.get_num_threads()} torch threads")]
    if not torch.cuda.is_available():
        checks.append(
            Check("gpu", "absent", "torch sees none", "fine for nano; larger models want a CUDA build of torch")
        )
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        checks.append(Check(f"gpu {index}", "ok", f"{name}, {free / GIB:.1f} of {total / GIB:.1f} GiB free"))
    return checks


def _memory() -> Check:
    page = os.sysconf("SC_PAGE_SIZE")
    free, total = os.sysconf("SC_AVPHYS_PAGES") * page / GIB, os.sysconf("SC_PHYS_PAGES") * page / GIB
    found = f"{free:.1f} of {total:.1f} GiB free"
    if free < LOW_MEMORY_GIB:
        return Check("memory", "warn", found, "close other programs, or give medproof run a small --batch-tokens")
    return Check("memory", "ok", found)


def _extras() -> list[Check]:
    checks = []
    for extra, modules in EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        if missing:
            checks.append(Check(f"[{extra}]", "absent", "", f"where needed: pip install 'medproof[{extra}]'"))
        else:
            checks.append(Check(f"[{extra}]", "ok", ", ".join(f"{name} {version(name)}" for name in modules)))
    return checks
