"""Atomic, resumable training state: accelerate's state plus our counters, recipe and versions."""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medproof.errors import UserError
from medproof.training.recipe import Recipe

_PREFIX = "step-"
_CHANGEABLE = {("checkpoint",), ("trackers",), ("name",)}


@dataclass(frozen=True)
class Checkpoints:
    """The folder `root` holds step-000250, step-000500, ...; each is complete or absent."""

    root: Path
    keep_last: int

    def latest(self) -> Path | None:
        return max(self._complete(), default=None)

    def save(self, accelerator: Any, step: int, recipe: Recipe) -> Path:
        """Write to a temporary folder, then rename. On a full disk the older checkpoints survive."""
        final = self.root / f"{_PREFIX}{step:06d}"
        partial = self.root / f".{final.name}.partial"
        try:
            if accelerator.is_main_process and partial.exists():
                shutil.rmtree(partial)
            accelerator.wait_for_everyone()
            # It would warn at every save that tied weights are stored once.
            logging.getLogger("accelerate.utils.other").setLevel(logging.ERROR)
            accelerator.save_state(str(partial))
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                self._publish(partial, final, step, recipe, accelerator.num_processes)
        except (OSError, RuntimeError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            if isinstance(error, RuntimeError) and "write" not in str(error).lower():
                raise
            raise UserError(
                f"checkpoint at step {step} could not be written ({error}): free space and run again with --resume; "
                f"the last complete checkpoint is {self.latest() or 'none'}"
            ) from error
        accelerator.wait_for_everyone()
        return final

    def read_step(self, folder: Path, recipe: Recipe, processes: int) -> int:
        """Step at which `folder` was saved. Refuses another recipe or another number of processes."""
        state = json.loads((folder / "trainer.json").read_text(encoding="utf-8"))
        changed = sorted(_differences(state["recipe"], recipe.model_dump(mode="json")))
        if changed:
            raise UserError(
                f"{folder} was written by another recipe (differs in {', '.join(changed)}): use another --out"
            )
        if state["processes"] != processes:
            raise UserError(
                f"{folder} was written by {state['processes']} processes, this run has {processes}: "
                "resuming would not be exact; start it with the same number"
            )
        return int(state["step"])

    def _publish(self, partial: Path, final: Path, step: int, recipe: Recipe, processes: int) -> None:
        state = {"step": step, "recipe": recipe.model_dump(mode="json"), "processes": processes}
        with open(partial / "trainer.json", "w", encoding="utf-8") as file:
            json.dump(state, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        if final.exists():
            shutil.rmtree(final)
        os.replace(partial, final)
        for old in sorted(self._complete())[: -self.keep_last]:
            shutil.rmtree(old)

    def _complete(self) -> list[Path]:
        return [p for p in self.root.glob(f"{_PREFIX}*") if (p / "trainer.json").is_file()]


def _differences(old: Any, new: Any, path: tuple[str, ...] = ()) -> list[str]:
    if path in _CHANGEABLE:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(set(old) | set(new))
        return [d for k in keys for d in _differences(old.get(k), new.get(k), (*path, str(k)))]
    return [] if old == new else [".".join(path)]
