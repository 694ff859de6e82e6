"""Kill a real run with SIGKILL at random moments, resume it each time, and compare it with an undisturbed one.

    python scripts/kill_and_resume.py --kills 20 --out runs/kills
    python scripts/kill_and_resume.py certify --kills 10 --limit 150 --out runs/kills_certify
    python scripts/kill_and_resume.py train --kills 3 --out runs/kills_train \
      --recipe recipes/safemed_r1/nano_at_grpo_direct.yaml optim.steps=24 checkpoint.every=4

Exits 1 unless every table (every certificate; every weight and logged number) is equal and no answer (draw, step) is
stored twice.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from medproof.runs.certificates_file import NAME, read_certificates
from medproof.runs.store import RunStore, read_run
from medproof.scoring.summary import summarise
from medproof.smoothing.counts import FOLDER, CountLog
from medproof.training.session import METRICS

PLAN = "sequential(target=0.25,last=2048)"
CONDITIONS = ("clean", "blank", "shuffled", "random_sign(8/255)", "pgd(linf,8/255,5)")
VOLATILE = ("worker", "seconds")


def main() -> int:
    """Run twice, once disturbed; print what was compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=list(_SAME), default="run")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of train")
    parser.add_argument("--recipe", help="of train")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--condition", action="append", help=f"of run; repeat. Default: {' '.join(CONDITIONS)}")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_intermixed_args()
    if (args.what == "train") != bool(args.recipe):
        parser.error("train takes --recipe, and nothing else does")
    whole, disturbed = args.out / "whole", args.out / "disturbed"
    began = time.monotonic()
    _finish(whole, args)
    undisturbed = time.monotonic() - began
    killed = disturb(disturbed, args, undisturbed)
    _finish(disturbed, args)
    print(f"undisturbed run: {undisturbed:.1f} s; killed {killed} times, resumed each time")
    return 0 if _SAME[args.what](whole, disturbed) else 1


def _same_answers(whole: Path, disturbed: Path) -> bool:
    same_answers = _answers(whole) == _answers(disturbed)
    same_tables = _tables(whole) == _tables(disturbed)
    rows, distinct = _stored(disturbed)
    print(f"answers equal: {same_answers}; tables equal: {same_tables}; stored rows {rows}, distinct keys {distinct}")
    return same_answers and same_tables and rows == distinct


def _same_certificates(whole: Path, disturbed: Path) -> bool:
    same = (whole / NAME).read_bytes() == (disturbed / NAME).read_bytes()
    rows = [json.loads(line) for file in (disturbed / FOLDER).glob("*.jsonl") for line in file.read_text().splitlines()]
    draws = sum(row["count"] for row in rows)
    certificates = read_certificates(disturbed)[0].certificates
    used = sum(certificate.n for certificate in certificates)
    print(f"{len(certificates)} certificates equal byte for byte: {same}; {draws} draws stored, {used} used")
    return same and draws == used


def _same_training(whole: Path, disturbed: Path) -> bool:
    weights = [(out / "model" / "model.safetensors").read_bytes() for out in (whole, disturbed)]
    logs = [_metrics(out) for out in (whole, disturbed)]
    steps = [row["step"] for row in logs[1]]
    same = weights[0] == weights[1], logs[0] == logs[1]
    print(f"weights equal byte for byte: {same[0]}; {len(steps)} logged steps equal but for times: {same[1]}")
    return all(same) and len(set(steps)) == len(steps)


_SAME = {"run": _same_answers, "certify": _same_certificates, "train": _same_training}


def _finish(out: Path, args: argparse.Namespace) -> None:
    command = _command(out, args)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def disturb(out: Path, args: argparse.Namespace, undisturbed: float) -> int:
    """Start the run again and again and kill it at a random moment, from its first imports on.

    On average a start lives one share of an undisturbed run, and the seconds it needs to load the model.
    """
    draw = np.random.default_rng(args.seed)
    longest = 2 * (undisturbed / args.kills + 4)
    killed = 0
    while killed < args.kills:
        process = subprocess.Popen(_command(out, args), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=float(draw.uniform(0.5, longest)))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
            print(f"killed {killed}: {_progress(out, args.what)} stored", flush=True)
        else:
            print("the run ended before its kill: it has nothing left to do")
            break
    return killed


def _command(out: Path, args: argparse.Namespace) -> list[str]:
    conditions = [part for condition in args.condition or CONDITIONS for part in ("--condition", condition)]
    how = conditions if args.what == "run" else ["--sigma", "0.5", "--plan", PLAN]
    if args.what == "train":
        recipe = [args.recipe, *args.overrides, "--out", str(out), "--device", "cpu"]
        return [sys.executable, "-m", "medproof", "train", *recipe]
    base = [sys.executable, "-m", "medproof", args.what, "--model", "nano", "--data", "sample", "--split", "test"]
    return [*base, "--limit", str(args.limit), *how, "--out", str(out)]


def _progress(out: Path, what: str) -> str:
    if what == "train":
        return f"{len(list((out / 'checkpoints').glob('step-*')))} checkpoints"
    if what == "certify":
        log = CountLog(out)
        log.refresh()
        return f"{sum(len(log.votes(stream.key)) for stream in log.streams())} draws"
    return f"{len(RunStore(out).present_keys()) if (out / 'run.json').is_file() else 0} answers"


def _metrics(out: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (out / METRICS).read_text(encoding="utf-8").splitlines()]
    return [{k: v for k, v in row.items() if k != "step_time" and not k.startswith("time/")} for row in rows]


def _answers(out: Path) -> dict[str, Any]:
    responses = read_run(out).responses
    return {r.key: r.model_dump(mode="json", exclude=set(VOLATILE)) for r in responses}


def _tables(out: Path) -> str:
    summary = summarise(read_run(out))
    return json.dumps({k: v for k, v in summary.items() if k not in ("provenance", "name")}, sort_keys=True)


def _stored(out: Path) -> tuple[int, int]:
    """Rows in all response shards, and distinct keys among them."""
    import pyarrow.parquet as pq

    keys = [key for shard in sorted((out / "responses").glob("*.parquet")) for key in _keys(pq, shard)]
    return len(keys), len(set(keys))


def _keys(pq: Any, shard: Path) -> list[str]:
    return list(pq.read_table(shard, columns=["key"]).column("key").to_pylist())


if __name__ == "__main__":
    raise SystemExit(main())
