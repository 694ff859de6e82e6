"""The loop around the optimizer steps of every kind of training: watch, log, show, save, end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from medproof.training.checkpoint import TrainerState
from medproof.training.rollout.weights import copy_weights
from medproof.training.session import Session, TrainProgress
from medproof.training.setup import Setup
from medproof.training.watch import Watch

Step = Callable[[int], dict[str, float]]
"""One optimizer step, numbered from 0, to its row of metrics.jsonl."""


def run_steps(
    session: Session,
    state: TrainerState,
    watch: Watch,
    step: Step,
    save: Callable[[int], None],
    *,
    headline: str,
    progress: Callable[[TrainProgress], None] | None = None,
    stop_at: int | None = None,
) -> int:
    """Go on from `state` to the recipe's last step, to `stop_at`, or until the model has grown blind.

    save: writes a checkpoint after that many steps; called when one is due and after the last.
    headline: the metric that progress shows.
    Returns how many steps are done.
    """
    recipe, done = session.recipe, state.step
    total = recipe.optim.steps
    if done == 0 and recipe.watch.every:
        session.log(0, watch.measure())
    last = done if watch.blind else max(done, min(total, stop_at or total))
    for number in range(done, last):
        row = step(number)
        done = number + 1
        if watch.is_due(done, total):
            row |= watch.measure()
        session.log(done, row)
        if progress is not None:
            progress(TrainProgress(done, total, f"{headline} {row[headline]:.3f}"))
        if done % recipe.checkpoint.every == 0 or done == last or watch.blind:
            save(done)
        if watch.blind:
            break
    return done


def finish(session: Session, parts: Setup, whole: Any, watch: Watch, done: int) -> Path:
    """Write the model, whose unsharded copy is `whole`; returns its folder.

    Raises TrainingError, after that, where `watch.stop_when_blind` ended the run.
    """
    copy_weights(parts.net, whole)
    folder = session.finish(whole, parts, done)
    watch.raise_if_blind(done)
    return folder
