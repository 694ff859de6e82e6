"""What in an audit a reader should not miss, one line each."""

from __future__ import annotations

from medproof.datasets.audit.model import AuditReport, Cue

ALARM = 0.10
"""A cue this far above chance, with its interval above chance too, is worth a line."""
SOURCE_ALARM = 0.05


def findings(report: AuditReport) -> tuple[str, ...]:
    """One line per problem; empty when there is none."""
    lines = [
        *_text_prior(report),
        _cue("always the same letter answers", report.letter_prior),
        _cue("the longest option answers", report.longest_option),
        _cue("the only option with a full stop answers", report.full_stop),
        _cue(_given("leaving out options never right in training answers", report), report.never_correct),
        _images(report),
        _patients(report),
        _source(report),
        f"{report.quarantined} rows were quarantined and are not counted here" if report.quarantined else None,
    ]
    return tuple(line for line in lines if line is not None)


def _text_prior(report: AuditReport) -> tuple[str | None, ...]:
    """One line where there is one modality; else the tables that know the modality and the one that does not."""
    if len(report.modalities) == 1:
        return (_cue("the text prior answers", report.text_prior),)
    return (
        _cue("option counts, given the modality, answer", report.text_prior),
        _cue("option counts, pooled over modalities, answer", report.text_prior_pooled),
    )


def _given(what: str, report: AuditReport) -> str:
    """Tables are kept per modality; over several of them that is more than the question alone tells."""
    return what if len(report.modalities) == 1 else f"given the modality, {what}"


def _cue(what: str, cue: Cue) -> str | None:
    if cue.accuracy is None or cue.ci95 is None or cue.chance is None:
        return None
    if cue.accuracy - cue.chance < ALARM or cue.ci95[0] <= cue.chance:
        return None
    where = "of all questions" if cue.coverage == 1 else f"of the {cue.n} questions it applies to"
    return f"{what} {cue.accuracy:.1%} {where} without looking (chance {cue.chance:.1%})"


def _images(report: AuditReport) -> str | None:
    images = report.images
    if not images.test_items:
        return None
    kinds = {"by path": images.by_path, "by content": images.by_content, "near-duplicate": images.near_duplicates}
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    return f"{images.test_items} test questions are about images that training holds too ({counts})"


def _patients(report: AuditReport) -> str | None:
    patients = report.patients
    if not patients.shared:
        return None
    return f"{patients.shared} patients are in both splits; {patients.test_items} test questions are about them"


def _source(report: AuditReport) -> str | None:
    source = report.source
    if source.gain is None or source.accuracy is None or source.gain < SOURCE_ALARM:
        return None
    return f"knowing the source alone lifts a guess by {source.gain:.1%} to {source.accuracy:.1%}"
