"""Answer, vote and certify into a run folder: the work of `medproof certify`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medproof.cli.console import note
from medproof.cli.progress import display
from medproof.errors import UserError

if TYPE_CHECKING:
    from medproof.cli.options import ModeChoice, SplitChoice
    from medproof.cli.progress import Display
    from medproof.datasets import Dataset
    from medproof.models.protocol import Model
    from medproof.records import Condition
    from medproof.runs.store import RunStore
    from medproof.smoothing.scheme import Scheme
    from medproof.smoothing.votes import Base, VoteEngine


@dataclass(frozen=True)
class Job:
    """What is to be certified: the items of `part`, a shard of `selected`, under each scheme."""

    selected: Dataset
    part: Dataset
    schemes: Sequence[Scheme]
    base: Base
    rounded: bool
    blind: bool
    mode: ModeChoice
    split: SplitChoice
    limit: int | None
    seed: int
    batch: int
    out: Path
    text_prior: dict[str, Any] | None
    allow_identified: bool = False


@dataclass
class Outcome:
    """What is not decided: items that failed, with the reason, and decisions left to other workers."""

    errors: dict[str, str] = field(default_factory=dict)
    elsewhere: int = 0

    def require_complete(self) -> None:
        """Raise UserError, naming the first cause, unless every item is decided."""
        if self.errors:
            item, cause = next(iter(self.errors.items()))
            raise UserError(
                f"{len(self.errors)} items could not be voted on ({item}: {cause}); everything else is stored; remove "
                "the cause and run the same command again"
            )
        if self.elsewhere:
            raise UserError(
                f"{self.elsewhere} decisions are left to other workers: run the same command again when they end"
            )


def execute(job: Job, model: Model, spec: str) -> Outcome:
    """Draw what is missing. Raises UserError where the model cannot vote, and KeyboardInterrupt after an interruption,
    when everything drawn so far is stored."""
    from medproof.conditions.registry import resolve
    from medproof.evaluation.provenance import run_meta
    from medproof.runs.store import RunStore
    from medproof.smoothing.votes import VoteEngine

    engines = [VoteEngine(model, s.sigma, base=job.base, rounded=job.rounded, batch=job.batch) for s in job.schemes]
    controls = [resolve("clean"), resolve("blank")] if job.blind else []
    meta = run_meta(
        model,
        spec,
        job.selected,
        controls,
        mode=job.mode,
        seed=job.seed,
        split=job.split,
        limit=job.limit,
        command=shlex.join(["medproof", *sys.argv[1:]]),
        text_prior=job.text_prior,
    )
    meta["name"] = job.out.resolve().name
    outcome = Outcome()
    with RunStore(job.out).create(meta, job.selected.items) as store, display() as shown:
        if controls:
            _answer(job, model, controls, store, shown)
        for scheme, engine in zip(job.schemes, engines, strict=True):
            _vote(job, scheme, engine, store, shown, outcome)
    return outcome


def _answer(job: Job, model: Model, controls: Sequence[Condition], store: RunStore, shown: Display) -> None:
    """What the model says without noise, of the image and of a blank one, to stand beside the curve."""
    from medproof.evaluation.loop import evaluate
    from medproof.evaluation.progress import Progress

    def advance(progress: Progress) -> None:
        shown.update(progress.condition, progress.done, progress.total)

    done = evaluate(
        model,
        job.part,
        controls,
        store,
        mode=job.mode,
        seed=job.seed,
        allow_identified=job.allow_identified,
        progress=advance,
    )
    if done.interrupted:
        note(done.message)
        raise KeyboardInterrupt


def _vote(job: Job, scheme: Scheme, engine: VoteEngine, store: RunStore, shown: Display, outcome: Outcome) -> None:
    from medproof.evaluation.certify import CertifyProgress, certify_items
    from medproof.evaluation.images import ImageLoader

    def advance(progress: CertifyProgress) -> None:
        remark = f"{progress.draws / progress.done:.0f} draws each" if progress.done else ""
        shown.update(f"sigma {scheme.sigma:g}", progress.done, progress.total, remark)

    done = certify_items(
        engine,
        scheme,
        job.part,
        store,
        mode=job.mode,
        seed=job.seed,
        load=ImageLoader(job.part, engine.model.grid, allow_identified=job.allow_identified),
        progress=advance,
    )
    if done.interrupted:
        note(f"interrupted: {done.draws} draws logged; nothing is lost, run the same command again to go on")
        raise KeyboardInterrupt
    outcome.errors |= done.errors
    outcome.elsewhere += done.elsewhere


def write_certificates(out: Path, schemes: Sequence[Scheme], base: str, rounded: bool) -> None:
    """certificates.json from the logged votes. Raises UserError where there is none for a scheme."""
    from medproof.evaluation.certify import certificates_from_counts
    from medproof.runs.certificates_file import add_certificates
    from medproof.runs.locks import exclusive
    from medproof.runs.store import RunStore

    store = RunStore(out)
    _ = store.meta  # it may be no run
    made = []
    with exclusive(out / "store.lock"):  # of two workers that end together, the second counts the votes of both
        for scheme in schemes:
            one, short = certificates_from_counts(store, scheme, base=base, rounded=rounded)
            if not one.certificates:
                raise UserError(
                    f"{out} has no votes of {base} at sigma {scheme.sigma:g} that reach a look of {scheme.plan.key}: "
                    "draw them with --model and --data"
                )
            if short:
                note(f"sigma {scheme.sigma:g}: {len(short)} items have too few votes for the plan to decide")
            made.append(one)
        add_certificates(out, made)
