"""Answer items under conditions into a run folder: what `run` and `demo` share."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medproof.cli.console import note
from medproof.errors import UserError

if TYPE_CHECKING:
    from medproof.cli.options import ModeChoice, SplitChoice
    from medproof.cli.progress import Display
    from medproof.datasets import Dataset
    from medproof.evaluation.progress import Progress, Summary
    from medproof.models.protocol import Model
    from medproof.records import Condition, Response
    from medproof.runs.store import RunData


@dataclass(frozen=True)
class Plan:
    """What is to be answered: the items of `selected`. Training items of `data`, all that was loaded, fit the prior."""

    data: Dataset
    selected: Dataset
    conditions: tuple[Condition, ...]
    model_spec: str
    mode: ModeChoice
    split: SplitChoice
    limit: int | None
    seed: int
    out: Path
    batch_tokens: int | None = None

    def lines(self) -> list[str]:
        """The plan in words, for --dry-run."""
        from medproof.conditions import needs_attack

        n = len(self.selected.items)
        images = len({(item.image, item.frame) for item in self.selected.items})
        attacks = [condition.key for condition in self.conditions if needs_attack(condition)]
        return [
            f"would answer {n} items ({images} images) of {self.data.name}, split {self.split}, "
            f"{len(self.data.quarantined)} rows quarantined",
            f"with {self.model_spec}, {self.mode} prompt, under {len(self.conditions)} conditions: "
            f"{n * len(self.conditions)} answers into {self.out}",
            *(f"  {condition.key}{' (attack)' if condition.key in attacks else ''}" for condition in self.conditions),
        ]


def execute(plan: Plan, model: Model, shown: Display, *, allow_identified: bool = False) -> Summary:
    """Answer what is missing of a plan; what is stored already is skipped.

    Raises UserError where the model cannot run a condition, and KeyboardInterrupt after an interruption, when
    everything answered so far is stored.
    """
    from medproof.conditions import check_model
    from medproof.evaluation.loop import BATCH_TOKENS, evaluate
    from medproof.evaluation.provenance import run_meta
    from medproof.runs.store import RunStore

    for condition in plan.conditions:
        check_model(condition, model)
    meta = run_meta(
        model,
        plan.model_spec,
        plan.selected,
        plan.conditions,
        mode=plan.mode,
        seed=plan.seed,
        split=plan.split,
        limit=plan.limit,
        command=shlex.join(["medproof", *sys.argv[1:]]),
        text_prior=text_prior_of(plan.data, plan.selected),
    )
    meta["name"] = plan.out.resolve().name

    def advance(progress: Progress) -> None:
        shown.update(f"{plan.mode}: {progress.condition}", progress.done, progress.total)

    with RunStore(plan.out).create(meta, plan.selected.items) as store:
        summary = evaluate(
            model,
            plan.selected,
            plan.conditions,
            store,
            mode=plan.mode,
            seed=plan.seed,
            batch_tokens=plan.batch_tokens or BATCH_TOKENS,
            allow_identified=allow_identified,
            progress=advance,
        )
    if summary.interrupted:
        note(summary.message)
        raise KeyboardInterrupt
    return summary


def check_attacks(plan: Plan, model: Model, shown: Display, n_items: int, *, allow_identified: bool = False) -> Path:
    """Run the sanity checks of the plan's attacks into its run folder; returns the path of sanity.json.

    Raises UserError where no condition attacks within a budget, and KeyboardInterrupt after an interruption.
    """
    from medproof.evaluation.loop import BATCH_TOKENS
    from medproof.sanity.runner import run_sanity

    def advance(progress: Progress) -> None:
        shown.update(f"sanity: {progress.condition}", progress.done, progress.total)

    return run_sanity(
        model,
        plan.selected,
        plan.conditions,
        plan.out,
        model_spec=plan.model_spec,
        mode=plan.mode,
        seed=plan.seed,
        n_items=n_items,
        batch_tokens=plan.batch_tokens or BATCH_TOKENS,
        allow_identified=allow_identified,
        progress=advance,
    )


def require_complete(summary: Summary, run: RunData) -> None:
    """Raise UserError, naming the first cause, unless every item has an answer under every condition."""
    if summary.complete:
        return
    failed = [response for response in run.responses if response.error is not None]
    if failed:
        items = {response.item_id for response in failed}
        raise UserError(
            f"{len(items)} of {len(run.items)} items could not be answered: {_causes(failed)}; everything else is "
            "stored; remove the cause (replace a damaged file) and run the same command again"
        )
    left = sum(counts.elsewhere for counts in summary.conditions.values())
    raise UserError(f"{left} answers are left to other workers on this run: run the same command again when they end")


def _causes(failed: Sequence[Response]) -> str:
    causes = list(dict.fromkeys(response.error or "" for response in failed))
    return causes[0] if len(causes) == 1 else f"{causes[0]} (and {len(causes) - 1} other causes)"


def text_prior_of(data: Dataset, selected: Dataset) -> dict[str, Any] | None:
    """The image-blind baseline on the selected items, fitted on the training items of `data`; None without any.

    Pooled over modalities: a table per modality would know the modality, which the model has to see in the image. Its
    accuracy stands beside it as `given_modality`. None too where training items are selected: a table cannot be scored
    on what it was fitted on.
    """
    from medproof.datasets.audit import text_prior

    train = [item for item in data.items if item.split == "train"]
    if not train or any(item.split == "train" for item in selected.items):
        return None
    pooled = text_prior(selected.items, train, pooled=True).model_dump(mode="json")
    return {**pooled, "given_modality": text_prior(selected.items, train).accuracy}
