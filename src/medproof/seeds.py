"""Every random draw comes from a seed derived from (run seed, item id, purpose)."""

import hashlib

import numpy as np


def derive_seed(run_seed: int, item_id: str, purpose: str) -> int:
    """A 63-bit seed, the same on every machine and independent of order, batch and worker.

    The parts are length-prefixed before hashing, so ("a", "bc") and ("ab", "c") differ.
    """
    parts = (str(run_seed), item_id, purpose)
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def rng(run_seed: int, item_id: str, purpose: str) -> np.random.Generator:
    """A NumPy generator (PCG64) seeded with `derive_seed`."""
    return np.random.Generator(np.random.PCG64(derive_seed(run_seed, item_id, purpose)))
