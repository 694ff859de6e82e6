"""The models that come with the package, by name. No torch."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from medproof.errors import UserError

CHECKPOINTS = {
    "nano": "nano_checkpoint",
    "nano-robust": "nano_robust_checkpoint",
    "nano-noise": "nano_noise_checkpoint",
}
"""nano: trained by recipes/nano_sft.yaml; from there nano-robust by recipes/safemed_r1/nano_at_grpo_direct.yaml, to
withstand attacks, and nano-noise by recipes/smoothing/nano_noise_sft.yaml, to be certified."""
BASELINES = ("majority", "option_count")
"""Models without pixels or weights: `models.baselines`."""


def root() -> Path:
    """The folder that holds the checkpoints' folders."""
    return Path(str(resources.files("medproof.models")))


def checkpoint(name: str = "nano") -> Path:
    """Folder of a built-in model. Raises UserError where this installation lacks it."""
    folder = root() / CHECKPOINTS[name]
    if not (folder / "config.json").is_file():
        raise UserError(f"the built-in model {name} is not in this installation: reinstall medproof, or use nano")
    return folder
