"""What stands around the steps of every training loop: processes, trackers, metrics.jsonl, checkpoints, the result."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from accelerate import Accelerator
from accelerate.utils import DistributedType, ProjectConfiguration, set_seed

from medproof.errors import UserError
from medproof.models.loading import save_folder
from medproof.runs.atomic import write_text
from medproof.runs.versions import versions
from medproof.training.checkpoint import Checkpoints, TrainerState
from medproof.training.recipe import AnyRecipe
from medproof.training.setup import Setup

METRICS = "metrics.jsonl"
DESCRIPTION = "training.json"


@dataclass(frozen=True)
class TrainProgress:
    """What a progress bar shows after an optimizer step."""

    step: int
    total: int
    remark: str


class Session:
    """One training run on this process: `accelerator`, the folder `out`, and what is written there."""

    def __init__(self, recipe: AnyRecipe, out: Path, device: str) -> None:
        """Raises UserError for a tracker that is not installed and for a batch that the processes cannot share."""
        for tracker in recipe.trackers:
            if importlib.util.find_spec(tracker) is None:
                raise UserError(
                    f"tracker {tracker!r} is not installed: pip install {tracker}, or take it out of trackers"
                )
        self.recipe = recipe
        self.out = out
        self.accelerator = Accelerator(
            cpu=device == "cpu",
            mixed_precision=recipe.mixed_precision,
            log_with=list(recipe.trackers) or None,
            project_config=ProjectConfiguration(project_dir=str(out), logging_dir=str(out / "logs")),
        )
        parts = self.accelerator.num_processes * recipe.optim.accumulation
        if recipe.optim.batch_size % parts:
            raise UserError(
                f"optim.batch_size {recipe.optim.batch_size} cannot be shared by {self.accelerator.num_processes} "
                f"processes with {recipe.optim.accumulation} micro-batches each: make it a multiple of {parts}"
            )
        plugin: Any = getattr(self.accelerator.state, "fsdp_plugin", None)
        if self.sharded and (plugin.fsdp_version != 2 or plugin.cpu_ram_efficient_loading):
            raise UserError(
                "the launcher's configuration must say fsdp_version: 2 and fsdp_cpu_ram_efficient_loading: false"
            )
        out.mkdir(parents=True, exist_ok=True)
        set_seed(recipe.seed)
        self._scores: list[float] = []

    def begin(self, parts: Setup, resume: bool) -> tuple[TrainerState, Path | None]:
        """Load the last checkpoint (if any, and only with `resume`) into what was prepared, and start the trackers.

        Returns where training goes on, and the checkpoint's folder. Without `resume` old checkpoints are removed.
        """
        root = self.out / "checkpoints"
        if self.accelerator.is_main_process and not resume:
            shutil.rmtree(root, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self.checkpoints = Checkpoints(root, self.recipe, parts.init_weights)
        folder = self.checkpoints.latest()
        state = TrainerState(0, {})
        if folder is not None:
            state = self.checkpoints.read(folder, self.accelerator.num_processes)
            self.accelerator.load_state(str(folder))
        if self.accelerator.is_main_process:
            _keep_metrics(self.out / METRICS, state.step)
        if self.recipe.trackers:
            self.accelerator.init_trackers(self.recipe.name, config=_flat(self.recipe.model_dump(mode="json")))
        return state, folder

    @property
    def sharded(self) -> bool:
        """Whether each process holds a part of the weights only (FSDP)."""
        return bool(self.accelerator.distributed_type == DistributedType.FSDP)

    def share(self, count: int) -> range:
        """Which of `count` things this process works on."""
        return range(self.accelerator.process_index, count, self.accelerator.num_processes)

    def log(self, step: int, row: Mapping[str, float]) -> None:
        """One line of metrics.jsonl, and the trackers; step 0 is before the first.

        Raises UserError where `checkpoint.keep_best` is not logged.
        """
        best = self.recipe.checkpoint.keep_best if step else None
        at_times = ("eval/", "rewards/") if self.recipe.kind == "grpo" else ("eval/",)
        if best is not None and best in row:
            self._scores.append(row[best])
        elif best is not None and not best.startswith(at_times):
            raise UserError(f"checkpoint.keep_best {best!r} is not logged: use one of {', '.join(sorted(row))}")
        self.accelerator.log(dict(row), step=step)
        if self.accelerator.is_main_process:
            with open(self.out / METRICS, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **row}, sort_keys=True) + "\n")

    def save(
        self,
        step: int,
        counters: Mapping[str, int] | None = None,
        write_more: Callable[[Path], None] | None = None,
    ) -> None:
        """A checkpoint; see `Checkpoints.save`."""
        score = fmean(self._scores) if self._scores else None
        self._scores.clear()
        self.checkpoints.save(self.accelerator, step, counters, score, write_more)

    def finish(self, net: Any, parts: Setup, step: int) -> Path:
        """Write OUT/model, which plain transformers (or PEFT, for an adapter) loads, with training.json in it."""
        folder = self.out / "model"
        if self.accelerator.is_main_process:
            save_folder(folder, net, parts.chat.tokenizer, parts.processor)
            text = json.dumps(self._description(parts, step), sort_keys=True, indent=1) + "\n"
            write_text(folder / DESCRIPTION, text)
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()
        return folder

    def _description(self, parts: Setup, step: int) -> dict[str, Any]:
        """What the model was trained on and how, for reports and model cards."""
        data = self.recipe.data
        return {
            "kind": self.recipe.kind,
            "name": self.recipe.name,
            "recipe": self.recipe.model_dump(mode="json"),
            "filters": data.model_dump(mode="json", include={"license_classes", "modalities", "question_types"}),
            "dataset": {
                "name": parts.dataset.name,
                "fingerprint": parts.dataset.fingerprint,
                "items": len(parts.dataset),
            },
            "steps": step,
            "processes": self.accelerator.num_processes,
            "init": self.recipe.model.init,
            "init_weights_hash": parts.init_weights,
            "versions": versions(),
        }


def _keep_metrics(path: Path, step: int) -> None:
    """Drop what was logged after the checkpoint that training goes on from, and what an earlier run left."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if step and path.is_file() else []
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
    path.write_text("".join(kept), encoding="utf-8")


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested recipe -> dotted keys with plain values, as trackers want them."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, (int, float, str, bool)) else json.dumps(value)
    return flat
