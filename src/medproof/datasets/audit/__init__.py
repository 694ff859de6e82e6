"""Can this data set be answered without looking, and do its splits leak? Seconds, no torch."""

from medproof.datasets.audit.auditor import audit, audit_dataset
from medproof.datasets.audit.cues import text_prior
from medproof.datasets.audit.model import (
    AuditReport,
    Balance,
    Cue,
    ImageOverlap,
    PatientOverlap,
    SourceShortcut,
    TextPriorCue,
)

__all__ = [
    "AuditReport",
    "Balance",
    "Cue",
    "ImageOverlap",
    "PatientOverlap",
    "SourceShortcut",
    "TextPriorCue",
    "audit",
    "audit_dataset",
    "text_prior",
]
