"""The models that come with the package, by name. No torch."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from medproof.errors import UserError

CHECKPOINTS = {"nano": "nano_checkpoint", "nano-robust": "nano_robust_checkpoint"}
"""nano: trained by recipes/nano_sft.yaml; nano-robust: by recipes/safemed_r1/ from there."""


def root() -> Path:
    """The folder that holds the checkpoints' folders."""
    return Path(str(resources.files("medproof.models")))


def checkpoint(name: str = "nano") -> Path:
    """Folder of a built-in model. Raises UserError where this installation lacks it."""
    folder = root() / CHECKPOINTS[name]
    if not (folder / "config.json").is_file():
        raise UserError(f"the built-in model {name} is not in this installation: reinstall medproof, or use nano")
    return folder
