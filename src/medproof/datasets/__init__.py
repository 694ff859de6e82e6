"""Readers that turn annotated images and question files into Items. No torch.

`load` takes what a user names; `build_items` makes questions from annotated rows; `write_items` stores Items.
"""

from medproof.datasets.build import build_items
from medproof.datasets.dataset import Dataset
from medproof.datasets.items_jsonl import read_items, write_items
from medproof.datasets.load import load
from medproof.datasets.quarantine import Quarantined
from medproof.datasets.questions import DEFAULT_KINDS, KINDS

__all__ = ["DEFAULT_KINDS", "KINDS", "Dataset", "Quarantined", "build_items", "load", "read_items", "write_items"]
