"""Stepwise fine-tuning against plain fine-tuning on the same items, measured with the stepwise benchmark.

    medproof bench build --data sample --out bench
    python scripts/stepwise.py --data bench/items.jsonl --out runs/stepwise --seed 0 --seed 1 --seed 2 [--jobs 2]

Trains every `--arm` for every `--seed` (same start, same number of steps) and runs it through the test split: clean,
steps(self_conditioned), hint(wrong) by every `--source`, hint(neutral) and hint(correct) by the first. Writes
OUT/stepwise.md and OUT/stepwise.json: prefix accuracy and harmful flips, every arm against the first, paired, with
intervals of a bootstrap over seeds and clusters of items. Interrupted, the same line goes on; what is finished is not
run again. `key=value` goes to every training.

Arms: plain (the letter only), stepwise (steps in reply and prompt, remarks), context (steps in the prompt, remarks, the
letter only), and what each does alone: steps, hints. A model that learnt two modes is asked in both, and is a row in
each, unless `--mode` names one.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medproof.cli.train import is_trained
from medproof.conditions.hints import SPEAKERS
from medproof.errors import UserError
from medproof.records import MODES, Outcome
from medproof.runs.atomic import write_text
from medproof.runs.store import read_run
from medproof.scoring.chain import STAGES, Chain, chains
from medproof.scoring.intervals import Floats, Resamples, percentile_interval
from medproof.scoring.scored import CLEAN, Scored, is_correct, score
from medproof.training.recipe import AnyRecipe, load_recipe

RECIPES = Path(__file__).resolve().parents[1] / "recipes" / "med_r2"
ARMS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "plain": ("nano_plain_sft", ()),
    "stepwise": ("nano_stepwise_sft", ()),
    "context": ("nano_stepwise_sft", ("data.modes={direct: 1.0}",)),
    "steps": ("nano_stepwise_sft", ("data.hints.share=0",)),
    "hints": ("nano_stepwise_sft", ("data.modes={direct: 1.0}", "data.earlier=0")),
}
"""By name: recipe and overrides."""
SELF = "steps(self_conditioned)"

Units = Mapping[str, tuple[bool, bool]]
"""By item or case: whether it is a hit, and whether it counts. A rate is hits among those that count."""


@dataclass(frozen=True)
class Job:
    """One arm with one seed. runs: by mode, the folder of its answers."""

    arm: str
    seed: int
    recipe: AnyRecipe
    train: tuple[str, ...]
    folder: Path
    runs: Mapping[str, Path]

    @property
    def rows(self) -> dict[str, str]:
        """Modes by the name of the table's row."""
        return {self.arm if len(self.runs) == 1 else f"{self.arm}, {mode}": mode for mode in self.runs}


@dataclass(frozen=True)
class Measure:
    """A row of the table. units: from a scored run to its hits."""

    name: str
    units: Callable[[Scored], Units]


def main() -> int:
    """Train and run what is missing, then write the table; exit code of the first command that fails."""
    args = _arguments()
    try:
        jobs = plan(args)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    with ThreadPoolExecutor(args.jobs) as pool:
        codes = list(pool.map(lambda job: work(args, job), jobs))
    if any(codes):
        return max(codes)
    write(args, jobs)
    return 0


def plan(args: argparse.Namespace) -> list[Job]:
    """Seed by seed, so that an interrupted plan leaves whole pairs. Raises UserError for what a recipe refuses."""
    jobs = []
    for seed in args.seed:
        for arm in args.arm:
            name, own = ARMS[arm]
            overrides = [*own, *args.overrides, f"data.train={json.dumps(args.data)}", f"seed={seed}"]
            overrides += [f"optim.steps={args.steps}"] if args.steps else []
            path = RECIPES / f"{name}.yaml"
            recipe = load_recipe(path, overrides)
            folder = args.out / "train" / f"{arm}-{seed}"
            train = ("train", str(path), *overrides, "--out", str(folder), "--device", args.device)
            runs: dict[str, Path] = {
                mode: args.out / "runs" / f"{arm}-{mode}-{seed}"
                for mode in recipe.data.modes
                if mode in (args.mode or recipe.data.modes)
            }
            jobs.append(Job(arm, seed, recipe, train, folder, runs))
    return jobs


def asking(args: argparse.Namespace, job: Job) -> list[tuple[str, ...]]:
    """The commands that have the trained model answer, one per mode."""
    asked = [word for condition in conditions(args) for word in ("--condition", condition)]
    limit = ["--limit", str(args.limit)] if args.limit else []
    about = ["run", "--model", str(job.folder / "model"), "--data", args.data, *limit, *asked, "--device", args.device]
    return [(*about, "--mode", mode, "--out", str(folder)) for mode, folder in job.runs.items()]


def conditions(args: argparse.Namespace) -> list[str]:
    """What every model is asked under."""
    first = args.source[0]
    wrong = [f"hint(wrong,{source})" for source in args.source]
    return [CLEAN, SELF, *wrong, f"hint(neutral,{first})", f"hint(correct,{first})"]


def work(args: argparse.Namespace, job: Job) -> int:
    """Train, unless that is done, and answer, which goes on by itself; 0 or the exit code of what failed."""
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // args.jobs))} if args.jobs > 1 else {}
    for command in ([] if is_trained(job.recipe, job.folder) else [job.train]) + asking(args, job):
        print("$ medproof " + shlex.join(command), flush=True)
        code = subprocess.run([sys.executable, "-m", "medproof", *command], check=False, env=os.environ | threads)
        if code.returncode:
            return code.returncode
    return 0


def measures(args: argparse.Namespace) -> list[Measure]:
    """The rows of the table."""
    rows = []
    hints = conditions(args)[2:]
    wrong = hints[: len(args.source)]
    for condition, how in ((CLEAN, "independent"), (SELF, "self-conditioned"), (wrong[0], wrong[0])):
        rows.append(Measure(f"item accuracy, {how}", partial(_right, condition=condition)))
        rows += [Measure(f"P_{stage}, {how}", partial(_prefix, condition=condition, stage=stage)) for stage in STAGES]
        rows.append(Measure(f"whole chain right, {how}", partial(_prefix, condition=condition, stage=None)))
    rows.append(Measure("harmful flips, all wrong hints", partial(_harmed, hinted=wrong)))
    rows += [Measure(f"harmful flips, {hint}", partial(_harmed, hinted=[hint])) for hint in hints]
    return rows + [Measure(f"item accuracy, {hint}", partial(_right, condition=hint)) for hint in hints[1:]]


def _right(scored: Scored, condition: str) -> Units:
    return {i: (is_correct(outcome), True) for i, outcome in scored.outcomes[condition].items()}


def _prefix(scored: Scored, condition: str, stage: str | None) -> Units:
    """Whether all steps up to `stage`, or of the whole chain, are right; chains without that stage do not count."""
    found, _ = chains(list(scored.items.values()), scored.outcomes[condition])

    def passed(chain: Chain) -> tuple[bool, bool]:
        if stage is None:
            return chain.first_failure is None, True
        return (chain.supported(stage) and chain.passed(stage), True) if stage in chain.right else (False, False)

    return {chain.case: passed(chain) for chain in found}


def _harmed(scored: Scored, hinted: Sequence[str]) -> Units:
    """Of what was right clean, what no longer is; one unit per item and condition."""
    clean = scored.outcomes[CLEAN]

    def harm(before: Outcome, after: Outcome) -> tuple[bool, bool]:
        return is_correct(before) and not is_correct(after), is_correct(before)

    return {f"{i}\t{c}": harm(clean[i], after) for c in hinted for i, after in scored.outcomes[c].items()}


def write(args: argparse.Namespace, jobs: Sequence[Job]) -> None:
    """The table as Markdown and as JSON, printed too."""
    scored = {(row, job.seed): score(read_run(job.runs[mode])) for job in jobs for row, mode in job.rows.items()}
    items = next(iter(scored.values())).items
    clusters = {item.id: item.cluster for item in items.values()} | {i.case: i.cluster for i in items.values()}
    base, *others = dict.fromkeys(row for row, _ in scored)
    rows: list[dict[str, Any]] = []
    for measure in measures(args):
        of = {arm: [measure.units(scored[arm, seed]) for seed in args.seed] for arm in (base, *others)}
        for arm in others:
            rows.append({"measure": measure.name, "arm": arm, **compare(of[base], of[arm], clusters)})
    text = "\n".join(_table(base, others, rows, args)) + "\n"
    content = {"data": args.data, "seeds": args.seed, "steps": jobs[0].recipe.optim.steps, "base": base, "rows": rows}
    write_text(args.out / "stepwise.md", text)
    write_text(args.out / "stepwise.json", json.dumps(content, indent=1, sort_keys=True) + "\n")
    print(text)


def compare(a: Sequence[Units], b: Sequence[Units], clusters: Mapping[str, str], seed: int = 0) -> dict[str, Any]:
    """Rates of two arms, b - a and b / a, with 95 % intervals; a[k] and b[k] are runs of the same seed.

    A resample draws seeds with replacement and, the same for all of them, clusters of items; both arms share it.
    `per_seed`: [a, b] of each. Raises UserError where the runs do not hold the same items.
    """
    ids = sorted(a[0])
    if any(set(units) != set(ids) for units in (*a, *b)):
        raise UserError("the arms hold different items: some run is not complete; run the same line again")
    draws = Resamples([clusters[i.partition("\t")[0]] for i in ids], seed=seed)
    seeds = np.random.Generator(np.random.PCG64(seed)).integers(len(a), size=(draws.b, len(a)))  # [B, S]

    def sums(runs: Sequence[Units]) -> tuple[Floats, Floats]:
        """[S, 2] of all items, and [B, 2] of the resamples."""
        values = np.array([[runs[k][i] for i in ids] for k in range(len(runs))], dtype=np.float64)  # [S, N, 2]
        resampled = np.stack([draws.sums(one) for one in values])  # [S, B, 2]
        return values.sum(1), resampled[seeds, np.arange(draws.b)[:, None]].sum(1)

    (own_a, many_a), (own_b, many_b) = sums(a), sums(b)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate_a, rate_b = _rate(own_a.sum(0)), _rate(own_b.sum(0))
        difference = percentile_interval(_rate(many_b) - _rate(many_a))
        ratio = percentile_interval(_rate(many_b) / _rate(many_a))
        per_seed = np.stack([_rate(own_a), _rate(own_b)], axis=-1)
    return {
        "a": float(rate_a),
        "b": float(rate_b),
        "n": [int(own_a[:, 1].sum()), int(own_b[:, 1].sum())],
        "difference": float(rate_b - rate_a),
        "difference_ci95": difference,
        "ratio": float(rate_b / rate_a) if rate_a else None,
        "ratio_ci95": ratio,
        "per_seed": per_seed.tolist(),
    }


def _rate(sums: Floats) -> Floats:
    return np.asarray(sums[..., 0] / sums[..., 1])


def _table(base: str, others: Sequence[str], rows: Sequence[dict[str, Any]], args: argparse.Namespace) -> list[str]:
    lines = [f"Per cent, {len(args.seed)} seeds; differences in points with 95 % intervals.", ""]
    for arm in others:
        lines += [_line(["", base, arm, "difference", f"{arm} / {base}"]), _line(["---"] * 5)]
        for row in (row for row in rows if row["arm"] == arm):
            points = f"{100 * row['difference']:+.1f} {_interval(row['difference_ci95'], 100, '+.1f')}"
            ratio = "–" if row["ratio"] is None else f"{row['ratio']:.2f} {_interval(row['ratio_ci95'], 1, '.2f')}"
            lines.append(_line([row["measure"], f"{100 * row['a']:.1f}", f"{100 * row['b']:.1f}", points, ratio]))
        lines.append("")
    return lines


def _interval(ends: Sequence[float] | None, scale: float, form: str) -> str:
    return "" if ends is None else f"({format(scale * ends[0], form)} to {format(scale * ends[1], form)})"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--data", required=True, help="items.jsonl of `medproof bench build`")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arm", action="append", choices=list(ARMS), help="repeat; default: plain and stepwise")
    parser.add_argument("--seed", action="append", type=int, help="repeat; default: 0, 1, 2")
    parser.add_argument(
        "--source", action="append", choices=list(SPEAKERS), help="repeat; default: authority, consensus"
    )
    parser.add_argument(
        "--mode", action="append", choices=MODES, help="repeat; the learnt modes to be asked in, default: all of them"
    )
    parser.add_argument("--steps", type=int, help="optimizer steps, instead of the recipes'")
    parser.add_argument("--limit", type=int, help="at most so many test items; chains are then incomplete")
    parser.add_argument("--jobs", type=int, default=1, help="so many trainings and runs at once, cores shared")
    parser.add_argument("--device", default="auto")
    args = parser.parse_intermixed_args()
    args.arm = args.arm or ["plain", "stepwise"]
    args.seed = args.seed or [0, 1, 2]
    args.source = args.source or ["authority", "consensus"]
    return args


if __name__ == "__main__":
    raise SystemExit(main())
