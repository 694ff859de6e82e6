"""Atomic, resumable training state: accelerate's state plus our counters, recipe, versions and the initial weights."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors import SafetensorError

from medproof.errors import UserError
from medproof.runs.versions import versions
from medproof.training.recipe import AnyRecipe

_PREFIX = "step-"
_STATE = "trainer.json"
_CHANGEABLE = {("checkpoint",), ("trackers",), ("name",)}


@dataclass(frozen=True)
class TrainerState:
    """Where a checkpoint stands: optimizer steps taken, and what else the loop counts."""

    step: int
    counters: Mapping[str, int]


@dataclass(frozen=True)
class Checkpoints:
    """The folder `root` holds step-000250, step-000500, ...; each is complete or absent.

    init_weights: hash of the weights the run began with. A checkpoint of other initial weights, of another recipe or
    of another number of processes is refused.
    """

    root: Path
    recipe: AnyRecipe
    init_weights: str

    def latest(self) -> Path | None:
        return max(self._complete(), default=None)

    def save(
        self,
        accelerator: Accelerator,
        step: int,
        counters: Mapping[str, int] | None = None,
        score: float | None = None,
        write_more: Callable[[Path], None] | None = None,
    ) -> Path:
        """Write to a temporary folder, then rename. On a full disk the older checkpoints survive.

        score: what `checkpoint.keep_best` judges by. write_more: called on every process with the folder to write into.
        """
        final = self.root / f"{_PREFIX}{step:06d}"
        partial = self.root / f".{final.name}.partial"
        try:
            if accelerator.is_main_process and partial.exists():
                shutil.rmtree(partial)
            accelerator.wait_for_everyone()
            # It would warn at every save that tied weights are stored once.
            logging.getLogger("accelerate.utils.other").setLevel(logging.ERROR)
            accelerator.save_state(str(partial))
            if write_more is not None:
                write_more(partial)
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                self._publish(partial, final, self._state(step, accelerator.num_processes, counters or {}, score))
        except (OSError, RuntimeError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            if isinstance(error, RuntimeError) and "write" not in str(error).lower():
                raise
            raise UserError(
                f"checkpoint at step {step} could not be written ({error}): free space and run again with --resume; "
                f"the last complete checkpoint is {self.latest() or 'none'}"
            ) from error
        accelerator.wait_for_everyone()
        return final

    def read(self, folder: Path, processes: int) -> TrainerState:
        """Where `folder` stands. Raises UserError unless this run can go on from it exactly."""
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        changed = sorted(_differences(state["recipe"], self.recipe.model_dump(mode="json")))
        if changed:
            raise UserError(
                f"{folder} was written by another recipe (differs in {', '.join(changed)}): use another --out"
            )
        if state.get("init_weights", self.init_weights) != self.init_weights:
            raise UserError(
                f"{folder} began with other weights than model.init ({self.recipe.model.init}) holds now: "
                "restore that model or use another --out"
            )
        if state["processes"] != processes:
            raise UserError(
                f"{folder} was written by {state['processes']} processes, this run has {processes}: "
                "resuming would not be exact; start it with the same number"
            )
        return TrainerState(int(state["step"]), state.get("counters", {}))

    def _state(self, step: int, processes: int, counters: Mapping[str, int], score: float | None) -> dict[str, Any]:
        return {
            "step": step,
            "recipe": self.recipe.model_dump(mode="json"),
            "processes": processes,
            "counters": dict(counters),
            "score": score,
            "init_weights": self.init_weights,
            "versions": versions(),
        }

    def _publish(self, partial: Path, final: Path, state: Mapping[str, Any]) -> None:
        with open(partial / _STATE, "w", encoding="utf-8") as file:
            json.dump(state, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        if final.exists():
            shutil.rmtree(final)
        os.replace(partial, final)
        kept = {self.best(), *sorted(self._complete())[-self.recipe.checkpoint.keep_last :]}
        for old in self._complete():
            if old not in kept:
                shutil.rmtree(old)

    def best(self) -> Path | None:
        """The checkpoint with the best score, of equals the latest; None where none has a score."""
        sign = 1 if self.recipe.checkpoint.greater_is_better else -1
        scored = []
        for folder in self._complete():
            score = json.loads((folder / _STATE).read_text(encoding="utf-8")).get("score")
            if score is not None:
                scored.append((sign * score, folder))
        return max(scored)[1] if scored else None

    def _complete(self) -> list[Path]:
        return [p for p in self.root.glob(f"{_PREFIX}*") if (p / _STATE).is_file()]


def _differences(old: Any, new: Any, path: tuple[str, ...] = ()) -> list[str]:
    if path in _CHANGEABLE:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(set(old) | set(new))
        return [d for k in keys for d in _differences(old.get(k), new.get(k), (*path, str(k)))]
    return [] if old == new else [".".join(path)]
