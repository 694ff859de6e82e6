"""Seconds and peak memory of scoring and reporting stored responses: no model, no GPU.

    python benchmarks/scoring_scale.py --out benchmarks/results/scoring_scale_cpu.json

Makes a run of synthetic replies (letters, tags, sentences, boxed, rationales, refusals, cut-off replies), then reads,
scores and reports it in a process of its own on at most two cores. Making the run is not timed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medproof.conditions import arguments, resolve
from medproof.evaluation.provenance import hardware
from medproof.records import LETTERS, Box, Evidence, Item, Response, pixels_sha256
from medproof.runs.store import RunStore
from medproof.runs.versions import versions
from medproof.seeds import rng

CONDITIONS = (
    "clean",
    "blank",
    "noimage",
    "shuffled",
    "hint(correct,authority)",
    "hint(wrong,authority)",
    "hint(neutral,authority)",
    "cue(box,wrong)",
    "cue(box,elsewhere)",
    "noise(0.25)",
    "random_sign(8/255)",
    "pgd(linf,8/255,20)",
)
MODALITIES = ("CT", "MRI", "X-Ray", "Ultrasound", "Dermoscopy", "Fundus", "OCT", "Microscopy")
TASKS = (
    ("S1", "Modality Recognition", "Which part of the body is shown?", ("chest", "abdomen", "head", "pelvis")),
    ("S2", "Other Biological Attributes", "In which quarter does it lie?", ("upper left", "upper right", "lower left")),
    ("S3", "Lesion Grading", "How large is it?", ("small", "medium", "large")),
    ("S4", "Disease Diagnosis", "What is the diagnosis?", ("benign lesion", "malignant lesion")),
)
REPLIES = (
    "<answer>{letter}</answer>",
    "{letter}",
    "{letter}) {option}",
    "The answer is {letter}.",
    "{option}",
    "The final answer is \\boxed{{{letter}}}",
    "<think>This is {modality}. It shows the {option}. So the answer is {option}.</think><answer>{letter}</answer>",
    "Looking at the picture, there is an area that is brighter than what lies around it.\n\nAnswer: {letter}",
    "I cannot determine this from the image.",
    "<think>The picture shows a {option}, and",
)
PICTURES = 256
SIDE = 112
BUDGET_SECONDS, BUDGET_MIB = 60.0, 2048.0


def make_items(n: int, seed: int) -> list[Item]:
    """Chains of four stages, one to a patient."""
    items = []
    for number in range(n):
        case, (stage, kind, question, options) = number // 4, TASKS[number % 4]
        items.append(
            Item(
                id=f"case{case:05d}/{stage}",
                image=f"images/{case:05d}.png",
                width=SIDE,
                height=SIDE,
                case=f"case{case:05d}",
                patient=f"patient{case:05d}",
                modality=MODALITIES[case % len(MODALITIES)],
                question_type=kind,
                stage=stage,
                question=question,
                options=options,
                answer=options[rng(seed, f"{case}", stage).integers(len(options))],
                parents=(f"case{case:05d}/{TASKS[number % 4 - 1][0]}",) if number % 4 else (),
                evidence=Evidence(boxes=(Box(label="lesion", xyxy=(20, 30, 60, 70)),)),
                license_class="permissive",
            )
        )
    return items


def make_run(folder: Path, n: int, seed: int) -> None:
    """A run folder with one reply per item and condition, and a few pictures that the items share."""
    items = make_items(n, seed)
    draw = np.random.default_rng(seed)
    base = [draw.integers(30, 90, (SIDE, SIDE, 3)).astype(np.uint8) for _ in range(PICTURES)]
    meta = {
        "model": "synthetic",
        "mode": "direct",
        "dataset": "synthetic",
        "seed": seed,
        "conditions": list(CONDITIONS),
        "arguments": {key: dict(arguments(resolve(key))) for key in CONDITIONS},
        "text_prior": {"accuracy": 0.34, "n": n},
        "weights_hash": "0" * 64,
    }
    with RunStore(folder).create(meta, items) as store:
        for place, condition in enumerate(CONDITIONS):
            pictures = [np.ascontiguousarray(picture + np.uint8(place)) for picture in base]
            hashes = [pixels_sha256(picture) for picture in pictures]
            store.append(list(make_replies(items, condition, hashes, seed)), dict(zip(hashes, pictures, strict=True)))


def make_replies(items: list[Item], condition: str, hashes: list[str], seed: int) -> Iterator[Response]:
    """Right with a probability that depends on the condition alone, said in one of REPLIES."""
    right = 0.75 if condition in ("clean", "cue(box,elsewhere)", "hint(neutral,authority)") else 0.45
    draw = rng(seed, condition, "replies")
    for number, item in enumerate(items):
        gold = item.answer_index
        shift = 0 if draw.random() < right else 1 + int(draw.integers(len(item.options) - 1))
        choice = (gold + shift) % len(item.options)
        words = {"letter": LETTERS[choice], "option": item.options[choice], "modality": item.modality}
        text = REPLIES[int(draw.integers(len(REPLIES)))].format(**words)
        yield Response(
            key=f"{condition}/{number:06d}",
            item_id=item.id,
            condition=condition,
            mode="direct",
            text=text,
            prompt_tokens=120,
            completion_tokens=len(text.split()),
            truncated=text.endswith("and"),
            option_logprobs=_logprobs(draw, len(item.options), choice),
            image_sha256=hashes[number // 4 % PICTURES] if condition != "noimage" else "0" * 64,
            info={"forwards": 21.0, "backwards": 20.0} if condition.startswith("pgd") else {},
            seconds=0.01,
        )


def _logprobs(draw: np.random.Generator, k: int, choice: int) -> tuple[float, ...]:
    scores: npt.NDArray[np.float64] = draw.normal(size=k)
    scores[choice] += 4.0
    return tuple(float(value) for value in scores - np.log(np.exp(scores).sum()))


def measure(run: Path, out: Path) -> dict[str, float]:
    """Read, score, summarise and write report.html and report.json, in this process."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    began, busy = time.perf_counter(), time.process_time()
    from medproof.report import build

    page, numbers = build([run], out)
    return {
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - busy, 2),
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "html_mib": round(page.stat().st_size / 2**20, 2),
        "json_mib": round(numbers.stat().st_size / 2**20, 2),
    }


def main() -> None:
    """Make the run, measure in a fresh process, write one JSON file; exit code 1 beyond the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(*args.measure)))
        return
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        make_run(run, args.items, args.seed)
        load = os.getloadavg()[0]
        command = [sys.executable, __file__, "--measure", str(run), str(Path(folder) / "report")]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(found)
    if args.out is not None:
        report = {
            "setting": {"items": args.items, "conditions": list(CONDITIONS), "seed": args.seed},
            "results": found,
            "load_before": round(load, 2),
            "budget": {"seconds": BUDGET_SECONDS, "peak_rss_mib": BUDGET_MIB},
            "versions": versions(),
            "hardware": hardware(),
        }
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(report, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    sys.exit(found["seconds"] > BUDGET_SECONDS or found["peak_rss_mib"] > BUDGET_MIB)


if __name__ == "__main__":
    main()
