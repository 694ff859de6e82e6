"""Training folders as `medproof train` leaves them, with made-up numbers: for the tests of the report."""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from report_runs import NASTY, draw, make_image

from medproof.records import pixels_sha256
from medproof.runs.images import Images

RECIPE: dict[str, Any] = {
    "kind": "grpo",
    "name": "nano_direct",
    "model": {"init": "runs/nano_early/model"},
    "data": {"train": "sample", "modalities": ["CT"], "question_types": None, "modes": {"direct": 1.0}},
    "grpo": {"loss_type": "dapo", "num_generations": 4, "beta": 0.04},
}


def make_training(
    path: Path, *, seed: int = 0, steps: int = 120, groups: int = 2, every: int = 20, looks: bool = True, **recipe: Any
) -> Path:
    """metrics.jsonl, the recipe beside the model, and completions every `every` steps (0: none)."""
    path.mkdir(parents=True)
    rows = [_row(step, steps, seed, looks) for step in range(steps + 1)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (path / "model").mkdir()
    stored = {"recipe": {**RECIPE, **recipe, "seed": seed}}
    (path / "model" / "training.json").write_text(json.dumps(stored), encoding="utf-8")
    for step in range(every, steps + 1, every) if every else ():
        write_completions(path, step, [_completions(step, place, seed) for place in range(groups)])
    return path


def write_completions(path: Path, step: int, groups: list[list[dict[str, Any]]]) -> None:
    folder = path / "completions"
    picture = make_image(step, "clean", 28)
    images = Images(folder)
    images.write({pixels_sha256(picture): picture}, "test")
    rows = [{**row, "image_sha256": pixels_sha256(picture)} for group in groups for row in group]
    pq.write_table(pa.Table.from_pylist(rows), folder / f"step-{step:06d}.parquet")


def _row(step: int, steps: int, seed: int, looks: bool) -> dict[str, float]:
    done = step / steps
    measured = {
        "eval/accuracy": 0.4 + 0.3 * done * (1 if looks else 0.2) + 0.01 * seed,
        "eval/blank_accuracy": 0.3 if looks else 0.3 + 0.3 * done,
    }
    if step == 0:
        return {"step": 0, **measured}
    noise = draw(step, seed) - 0.5
    return {
        "step": step,
        "loss": 0.01 * noise,
        "lr": 1e-4,
        "grad_norm": 1 + noise,
        "reward": 0.5 + 0.4 * done + 0.2 * noise,
        "rewards/accuracy/mean": 0.5 + 0.4 * done,
        "rewards/format/mean": 0.9,
        "frac_reward_zero_std": 0.2 + 0.3 * done,
        "kl": 0.02 * done,
        "entropy": 1.2 * math.exp(-done),
        "completions/mean_length": 12 - 3 * done,
        "completions/clipped_ratio": 0.0,
        "step_time": 0.8,
        **(measured if step % 20 == 0 else {}),
    }


def _completions(step: int, place: int, seed: int) -> list[dict[str, Any]]:
    letters = "AABA" if place else "BBBB"
    return [
        {
            "step": step,
            "group": place,
            "completion": g,
            "tokens": 9,
            "item_id": f"case/{place} <i>",
            "modality": "CT",
            "question_type": "Disease Diagnosis",
            "mode": "direct",
            "prompt": f"What is it? {NASTY[g % len(NASTY)]}\nA) this\nB) that",
            "answer": "this",
            "options": ["this", "that"],
            "text": f"<answer>{letter}</answer>" + (NASTY[0] if g == 0 else ""),
            "truncated": g == 3,
            "reward_accuracy": float(letter == "A"),
            "reward_looks": None,
            "reward": float(letter == "A"),
            "advantage": (0.5 if letter == "A" else -1.5) if place else 0.0,
        }
        for g, letter in enumerate(letters)
    ]
