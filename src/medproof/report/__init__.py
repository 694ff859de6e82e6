"""The evidence report: one self-contained page and its numbers as JSON. See `build`."""

from medproof.report.build import build

__all__ = ["build"]
