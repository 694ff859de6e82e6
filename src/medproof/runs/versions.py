"""Versions of what a result may depend on."""

import platform
from importlib import metadata

_PACKAGES = (
    "medproof",
    "torch",
    "transformers",
    "accelerate",
    "peft",
    "safetensors",
    "tokenizers",
    "numpy",
    "scipy",
    "pillow",
    "pyarrow",
    "duckdb",
    "pydicom",
    "nibabel",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages a result may depend on, from their metadata: nothing is imported."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # an extra that is not installed
    return found
