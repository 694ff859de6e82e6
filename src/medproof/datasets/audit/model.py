"""What an audit says. Every number that could not be had is null and has its reason beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from medproof.records import Record
from medproof.runs.atomic import write_text


class Cue(Record):
    """One way of answering without the image, measured on the `n` items to which it applies.

    `coverage` is that share of all test items; `chance` is the mean of 1/K over the same `n` items.
    """

    accuracy: float | None = None
    ci95: tuple[float, float] | None = None
    n: int = 0
    coverage: float = 0.0
    chance: float | None = None
    reason: str | None = None

    @property
    def excess(self) -> float | None:
        """Accuracy above chance, as a share."""
        return None if self.accuracy is None or self.chance is None else self.accuracy - self.chance


class TextPriorCue(Cue):
    """The option-count table of METRICS, fitted on training items.

    `fit` "per modality": a table for each modality, as for the splits of Med-R1, which are one modality each. On a
    mixed data set such a table knows the modality, which the text alone may not tell. "pooled": one table for
    everything, blind to the image altogether. On one modality they are the same.

    `accuracy` is over items, `mean_over_modalities` over modalities; modalities without a table are left out.
    """

    fit: Literal["per modality", "pooled"] = "per modality"
    mean_over_modalities: float | None = None
    by_modality: Mapping[str, Cue] = Field(default_factory=dict)


class NeverCorrectCue(Cue):
    """Leaving out options that training offered and never confirmed; applies where exactly one option is left.

    `distractors_excluded` is the share of wrong test options this removes, `answers_excluded` how many right ones;
    `expected_accuracy` is that of drawing at random from what is left, over all test items.
    """

    distractors_excluded: float | None = None
    answers_excluded: int | None = None
    expected_accuracy: float | None = None


class ImageOverlap(Record):
    """Distinct test images that training holds too.

    `by_content` compares SHA-256 of the files; `near_duplicates` counts test images with a training image within
    `threshold` of 256 difference-hash bits, identical files included. `test_items` are the questions touched by any.
    """

    test_images: int
    train_images: int = 0
    by_path: int | None = None
    by_content: int | None = None
    near_duplicates: int | None = None
    threshold: int | None = None
    test_items: int | None = None
    unreadable: int = 0
    examples: tuple[tuple[str, str], ...] = ()
    reason: str | None = None


class PatientOverlap(Record):
    """Patients that occur in both splits."""

    test_patients: int = 0
    train_patients: int = 0
    shared: int | None = None
    test_items: int | None = None
    examples: tuple[str, ...] = ()
    reason: str | None = None


class GroupShortcut(Record):
    """Source shortcut of one question group. `baseline` predicts the same way without the source."""

    accuracy: float
    baseline: float
    n: int


class SourceShortcut(Record):
    """Predicting the answer from where the image comes from: the answer most often right in training for the same
    modality, question type and source. What counts is the gain over the same prediction without the source.
    """

    accuracy: float | None = None
    baseline: float | None = None
    gain: float | None = None
    n: int = 0
    sources: int = 0
    by_group: Mapping[str, GroupShortcut] = Field(default_factory=dict)
    reason: str | None = None


class Balance(Record):
    """Answers of one question type in the test split. `top_share` is the share of the most frequent answer text."""

    n: int
    answers: int
    top_answer: str
    top_share: float
    chance: float
    letters: Mapping[str, float]


class AuditReport(Record):
    """Everything `medproof audit` finds; written as audit.json and shown as a section of the report."""

    version: int = 1
    dataset: str
    train_dataset: str | None
    n_test: int
    n_train: int
    chance: float
    modalities: Mapping[str, int]
    text_prior: TextPriorCue
    text_prior_pooled: TextPriorCue
    letter_prior: Cue
    longest_option: Cue
    full_stop: Cue
    never_correct: NeverCorrectCue
    images: ImageOverlap
    patients: PatientOverlap
    source: SourceShortcut
    balance: Mapping[str, Balance]
    quarantined: int = 0
    findings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, for the report."""
        return self.model_dump(mode="json")

    def write(self, folder: Path) -> Path:
        """Write `folder`/audit.json atomically and return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "audit.json"
        write_text(path, self.to_json() + "\n")
        return path
