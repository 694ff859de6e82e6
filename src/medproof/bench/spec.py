"""bench.yaml: what a user says about a corpus, and tasks of the user's own."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from medproof.bench.case import LESIONS, Case
from medproof.bench.catalog import TASKS
from medproof.bench.chains import check_tasks
from medproof.bench.orientation import Convention
from medproof.bench.task import Reading, Task, Within
from medproof.datasets.corpus import is_corpus
from medproof.datasets.load import SAMPLE
from medproof.datasets.quarantine import explain
from medproof.errors import UserError
from medproof.images.grid import Grid
from medproof.records import LicenseClass, QuestionType, Stage

FILE = "bench.yaml"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class UserTask(_Section):
    """A question about one column of the corpus (a field of the row, or of its `attributes`).

    question: one wording or several; {column} is filled in from the row. answers: from values to answers; values that
    it leaves out are not asked.
    """

    task: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    stage: Stage
    column: str
    question: tuple[str, ...]
    answers: Mapping[str, str] | None = None
    after: tuple[str, ...] = ()
    question_type: QuestionType = "Other Biological Attributes"
    within: Within = "source"

    @field_validator("question", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("answers", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return {as_text(key): name for key, name in value.items()} if isinstance(value, Mapping) else value

    def build(self) -> Task:
        named = sorted({name for stem in self.question for _, name, _, _ in string.Formatter().parse(stem) if name})

        def read(case: Case) -> Iterator[Reading]:
            value = case.labels.get(self.column)
            answer = value if self.answers is None or value is None else self.answers.get(value)
            if answer is not None and all(name in case.labels for name in named):
                lesion = case.lesion
                evidence = (lesion.boxes, lesion.region) if lesion else ((), None)
                yield Reading(answer, "", (self.column, *named), *evidence)

        return Task(
            self.task,
            self.stage,
            self.question_type,
            "single choice",
            "label",
            self.question,
            read,
            self.after,
            self.within,
        )


class BenchSpec(_Section):
    """One corpus. Paths are relative to the folder of the file.

    form: "rows" (JSON lines, a row per image) or "coco" (COCO detection JSON). annotations: the files; a glob will do.
    defaults: fields of rows that lack them. orientation: convention by source or modality, before the built-in ones.
    lesions: names of classes or boxes that count as the lesion, beside the usual ones.
    test_share: of the patients (else images), where rows name no split.
    grid_pixels, min_pixels: on a grid of at most so many pixels, evidence must cover this many. delta: of the gate.
    """

    name: str
    root: str = "."
    form: Literal["rows", "coco"] = "rows"
    annotations: str = "manifest/*.jsonl"
    defaults: Mapping[str, Any] = Field(default_factory=dict)
    orientation: Mapping[str, Convention] = Field(default_factory=dict)
    lesions: tuple[str, ...] = ()
    license_classes: tuple[LicenseClass, ...] | None = None
    test_share: float = Field(default=0.3, gt=0, lt=1)
    grid_pixels: int = Field(default=112 * 112, ge=28 * 28)
    min_pixels: int = Field(default=16, ge=1)
    delta: float = Field(default=0.05, ge=0, lt=1)
    tasks: tuple[UserTask, ...] = ()

    @property
    def all_tasks(self) -> tuple[Task, ...]:
        """Built-in tasks and those of the file, in chain order. Raises UserError where they are no chain."""
        return check_tasks((*TASKS, *(task.build() for task in self.tasks)))

    @property
    def lesion_names(self) -> frozenset[str]:
        return LESIONS | set(self.lesions)

    @property
    def grid(self) -> Grid:
        return Grid(min_pixels=28 * 28, max_pixels=self.grid_pixels)


def as_text(value: Any) -> str:
    """A value of a row as the text of a label: true and false in lower case, lists joined by "; "."""
    if isinstance(value, bool):
        return str(value).lower()
    return "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def load_spec(data: str) -> tuple[BenchSpec, Path]:
    """What `data` names, and its root: "sample", a folder with manifest/ or bench.yaml, or a bench.yaml.

    Raises UserError for anything else, and where the file is wrong.
    """
    path = SAMPLE if data == "sample" else Path(data)
    if path.is_dir() and (path / FILE).is_file():
        path = path / FILE
    if path.is_dir() and is_corpus(path):
        return BenchSpec(name=data if data == "sample" else path.resolve().name), path
    if not path.is_file() or path.suffix not in (".yaml", ".yml"):
        raise UserError(f"no corpus at {data!r}: give sample, a folder with manifest/*.jsonl, or a {FILE}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        spec = BenchSpec.model_validate({"name": path.resolve().parent.name} | content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError) as error:
        raise UserError(f"{path} is no mapping in YAML: {' '.join(str(error).split())}; correct it") from error
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error)}; correct it") from error
    root = path.parent / spec.root
    if not root.is_dir():
        raise UserError(f"{path}: the root {spec.root!r} is no folder; correct it")
    return spec, root
