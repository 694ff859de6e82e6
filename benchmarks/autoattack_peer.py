"""AutoAttack standard on the network of `attack_parity.py`, run by the Python of an environment that has pyautoattack.

    python autoattack_peer.py weights.safetensors images.npz attacked.npz EPS SEED THREADS

images.npz holds `images` [N, 1, 16, 16] and `labels` [N]; attacked.npz gets `images`. Prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from digits_net import load
from pyautoattack import AutoAttack


def main() -> None:
    weights, given, attacked, eps, seed, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    with np.load(given) as data:
        images, labels = torch.tensor(data["images"]), torch.tensor(data["labels"])
    attack = AutoAttack(load(Path(weights)), eps=float(eps), norm="Linf", version="standard", seed=int(seed))
    began = time.perf_counter()
    found = attack.run_standard_evaluation(images, labels, batch_size=len(images))
    seconds = time.perf_counter() - began
    np.savez(attacked, images=(found[0] if isinstance(found, tuple) else found).numpy())
    versions = {name: metadata.version(name) for name in ("pyautoattack", "torch", "numpy")}
    print(json.dumps({"seconds": seconds, "versions": versions}))


if __name__ == "__main__":
    main()
