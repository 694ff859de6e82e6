"""Audit on data whose values are known: Med-R1's splits, the annotated corpus, the built-in sample."""

import time
from pathlib import Path
from typing import Any

import pytest

from medproof.datasets import Dataset, load
from medproof.datasets.audit import AuditReport, audit_dataset

PUBLISHED = {
    "CT": 0.990,
    "X-Ray": 0.946,
    "Ultrasound": 0.834,
    "Dermoscopy": 0.951,
    "Fundus Photography": 0.949,
    "OCT": 1.000,
    "Microscopy": 0.986,
}
"""METRICS.md, in-domain text prior of the Med-R1 test splits."""


@pytest.fixture(scope="module")
def med_r1(omnimedvqa_full: Any) -> tuple[AuditReport, float]:
    """The audit and the processor seconds it took."""
    started = time.process_time()
    report = audit_dataset(omnimedvqa_full.dataset)
    return report, time.process_time() - started


@pytest.mark.parametrize("modality", sorted(PUBLISHED))
def test_text_prior_matches_the_definition_within_0_7_points(med_r1: tuple[AuditReport, float], modality: str) -> None:
    accuracy = med_r1[0].text_prior.by_modality[modality].accuracy
    assert accuracy == pytest.approx(PUBLISHED[modality], abs=0.007)


def test_mri_has_no_training_file_and_says_so(med_r1: tuple[AuditReport, float]) -> None:
    mri = med_r1[0].text_prior.by_modality["MRI"]
    assert (mri.accuracy, mri.reason) == (None, "no training items of this modality")


def test_med_r1_leaks_are_found(med_r1: tuple[AuditReport, float]) -> None:
    """SOURCES.md counts 1,836 shared images; one of them belongs to the row that is set aside or to an unknown file."""
    report = med_r1[0]
    assert report.images.by_path == pytest.approx(1836, abs=2)
    assert report.never_correct.accuracy == pytest.approx(1.0, abs=0.001)
    assert report.chance == pytest.approx(0.27, abs=0.005)


def test_sixty_thousand_questions_take_seconds(med_r1: tuple[AuditReport, float]) -> None:
    assert med_r1[1] < 10


def test_annotated_corpus_shares_nothing_and_shows_its_source_shortcut(shared_data: Path) -> None:
    """SOURCES.md: no patient and no near-duplicate in two splits; MRI mixes sources whose look differs by class."""
    started = time.process_time()
    report = audit_dataset(load(shared_data))
    assert time.process_time() - started < 30
    assert (report.patients.shared, report.images.by_content, report.images.near_duplicates) == (0, 0, 0)
    assert report.images.unreadable == 0
    mri = report.source.by_group["MRI / Disease Diagnosis"]
    assert mri.accuracy - mri.baseline > 0.2


@pytest.fixture(scope="module")
def sample() -> Dataset:
    return load("sample")


def test_sample_is_blind_to_the_image_at_chance_only(sample: Dataset) -> None:
    """The built-in images are fit for showing that a model looks: option counts alone stay near chance."""
    report = audit_dataset(sample)
    pooled = report.text_prior_pooled
    assert pooled.excess is not None
    assert pooled.excess < 0.05
    assert report.images.test_items == 0
    assert report.patients.shared == 0
    for cue in (report.letter_prior, report.longest_option, report.full_stop):
        assert cue.excess is None or abs(cue.excess) < 0.05


def test_limit_bounds_the_test_items_only(sample: Dataset) -> None:
    whole, part = audit_dataset(sample, images=False), audit_dataset(sample, images=False, limit=50)
    assert (part.n_test, part.n_train) == (50, whole.n_train)


def test_audit_of_training_items_alone_fits_nothing(sample: Dataset) -> None:
    report = audit_dataset(sample.filter(split="train"), images=False)
    assert report.n_train == 0
    assert report.text_prior.accuracy is None


def test_a_separate_training_set_is_used(sample: Dataset, tmp_path: Path) -> None:
    report = audit_dataset(sample.filter(split="test"), sample.filter(split="train"), images=False)
    assert report.text_prior == audit_dataset(sample, images=False).text_prior
    assert report.train_dataset == "sample"
    assert report.write(tmp_path / "new").read_text(encoding="utf-8") == report.to_json() + "\n"
