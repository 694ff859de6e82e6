"""Kill a real run with SIGKILL at random moments, resume it each time, and compare it with an undisturbed one.

    python scripts/kill_and_resume.py --kills 20 --out runs/kills

Exits 1 unless every table is equal and no answer is stored twice.
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

from medproof.runs.store import RunStore, read_run
from medproof.scoring.summary import summarise

CONDITIONS = ("clean", "blank", "shuffled", "random_sign(8/255)", "pgd(linf,8/255,5)")
VOLATILE = ("worker", "seconds")


def main() -> int:
    """Run twice, once disturbed; print what was compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    whole, disturbed = args.out / "whole", args.out / "disturbed"
    began = time.monotonic()
    subprocess.run(_command(whole, args.limit), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    undisturbed = time.monotonic() - began
    killed = disturb(disturbed, args, undisturbed)
    subprocess.run(_command(disturbed, args.limit), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    same_answers = _answers(whole) == _answers(disturbed)
    same_tables = _tables(whole) == _tables(disturbed)
    rows, distinct = _stored(disturbed)
    print(f"undisturbed run: {undisturbed:.1f} s; killed {killed} times, resumed each time")
    print(f"answers equal: {same_answers}; tables equal: {same_tables}; stored rows {rows}, distinct keys {distinct}")
    return 0 if same_answers and same_tables and rows == distinct else 1


def disturb(out: Path, args: argparse.Namespace, undisturbed: float) -> int:
    """Start the run again and again and kill it at a random moment, from its first imports on.

    On average a start lives one share of an undisturbed run, and the seconds it needs to load the model.
    """
    draw = np.random.default_rng(args.seed)
    longest = 2 * (undisturbed / args.kills + 4)
    killed = 0
    while killed < args.kills:
        process = subprocess.Popen(_command(out, args.limit), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=float(draw.uniform(0.5, longest)))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
            print(f"killed {killed}: {_progress(out)} answers stored", flush=True)
        else:
            print("the run ended before its kill: it has nothing left to do")
            break
    return killed


def _command(out: Path, limit: int) -> list[str]:
    conditions = [part for condition in CONDITIONS for part in ("--condition", condition)]
    base = [sys.executable, "-m", "medproof", "run", "--model", "nano", "--data", "sample", "--split", "test"]
    return [*base, "--limit", str(limit), *conditions, "--out", str(out)]


def _progress(out: Path) -> int:
    return len(RunStore(out).present_keys()) if (out / "run.json").is_file() else 0


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
