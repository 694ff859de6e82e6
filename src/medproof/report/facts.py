"""Nested JSON as labelled rows: the provenance block and the audit section.

Known keys get a readable name and their place; whatever else is there follows, so that nothing is left out.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medproof.report.wording import MISSING, interval, percent

MAX_ROWS = 50

PROVENANCE_NAMES = {
    "created": "Created",
    "command": "Command",
    "model": "Model",
    "model_name": "Model name",
    "training": "Trained",
    "mode": "Prompt",
    "weights_hash": "Weights SHA-256",
    "processor_hash": "Processor SHA-256",
    "dataset": "Data",
    "dataset_fingerprint": "Data fingerprint",
    "split": "Split",
    "limit": "Limit",
    "seed": "Seed",
    "decoding": "Decoding",
    "grid": "Pixel grid",
    "conditions": "Conditions",
    "counts": "Counts",
    "versions": "Versions",
    "hardware": "Hardware",
    "text_prior": "Text prior",
}
_ELSEWHERE = frozenset({"schema", "quarantined", "arguments"})


@dataclass(frozen=True)
class Fact:
    name: str
    value: str
    code: bool = False


def provenance(block: Mapping[str, Any]) -> list[Fact]:
    """Rows of one run's provenance, known keys first."""
    known = [key for key in PROVENANCE_NAMES if key in block]
    rest = [key for key in sorted(block) if key not in PROVENANCE_NAMES and key not in _ELSEWHERE]
    return [
        Fact(PROVENANCE_NAMES.get(key, readable(key)), _shown(key, block[key]), _is_code(key))
        for key in [*known, *rest]
    ]


def _shown(key: str, value: Any) -> str:
    if key == "text_prior" and isinstance(value, Mapping):  # it may hold an answer per item
        return f"{percent(value.get('accuracy'))} of {plain(value.get('n'))} questions"
    if key == "training" and isinstance(value, Mapping):
        chosen = {name: kept for name, kept in (value.get("filters") or {}).items() if kept}
        data = (value.get("dataset") or {}).get("name")
        only = f" (only {plain(chosen)})" if chosen else ""
        return f"{value.get('kind')}, {plain(value.get('steps'))} steps from {value.get('init')} on {data}{only}"
    if key == "command" and isinstance(value, Sequence) and not isinstance(value, str):
        return shlex.join(str(part) for part in value) or MISSING
    return plain(value)


def _is_code(key: str) -> bool:
    return key in {"command", "conditions"} or key.endswith(("hash", "fingerprint"))


def quarantined(block: Mapping[str, Any]) -> tuple[int, list[tuple[str, str]]]:
    """How many rows of the data were set aside, and where and why for the first `MAX_ROWS`."""
    rows = block.get("quarantined") or []
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        return (int(rows) if isinstance(rows, int) else 0), []
    pairs = [(str(row.get("where", "")), str(row.get("reason", ""))) for row in rows if isinstance(row, Mapping)]
    return len(rows), pairs[:MAX_ROWS]


def readable(key: str) -> str:
    """A JSON key in words: "answers_excluded" becomes "Answers excluded"."""
    words = key.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def plain(value: Any) -> str:
    """Any JSON value on one line."""
    if value is None or value == "" or value == [] or value == {}:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {plain(inner)}" for key, inner in sorted(value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(plain(inner) for inner in value)
    return str(value)


AUDIT_NAMES = {
    "dataset": "Test data",
    "train_dataset": "Training data",
    "n_test": "Test questions",
    "n_train": "Training questions",
    "chance": "Chance",
    "quarantined": "Rows set aside",
}
CUES = {
    "text_prior": "Text prior: how often each option was right in training, per modality",
    "text_prior_pooled": "Text prior, all modalities pooled",
    "letter_prior": "Always the letter most often right",
    "longest_option": "The longest option",
    "full_stop": "The only option with a full stop",
    "never_correct": "Leaving out options never right in training",
    "source": "Source of the image alone",
}


@dataclass(frozen=True)
class CueRow:
    name: str
    accuracy: str
    ci: str
    chance: str
    n: str
    reason: str


@dataclass(frozen=True)
class AuditView:
    """`findings` are the lines not to miss; `blocks` are the remaining parts of the audit, each a small table."""

    findings: tuple[str, ...]
    cues: tuple[CueRow, ...]
    by_modality: tuple[CueRow, ...]
    facts: tuple[Fact, ...]
    blocks: tuple[tuple[str, tuple[Fact, ...]], ...]


def audit_view(audit: Mapping[str, Any]) -> AuditView:
    """The audit section from audit.json; unknown keys are shown too."""
    cues = tuple(_cue(name, audit[key]) for key, name in CUES.items() if isinstance(audit.get(key), Mapping))
    prior = audit.get("text_prior")
    modalities = prior.get("by_modality") if isinstance(prior, Mapping) else None
    by_modality = tuple(
        _cue(name, block) for name, block in sorted((modalities or {}).items()) if isinstance(block, Mapping)
    )
    findings = tuple(str(line) for line in audit.get("findings") or ())
    rest = {key: value for key, value in audit.items() if key not in CUES and key not in ("findings", "version")}
    order = [key for key in AUDIT_NAMES if key in rest] + sorted(rest.keys() - AUDIT_NAMES.keys())
    facts = tuple(
        Fact(AUDIT_NAMES.get(key, readable(key)), percent(rest[key]) if key == "chance" else plain(rest[key]))
        for key in order
        if not isinstance(rest[key], Mapping)
    )
    blocks = tuple(
        (readable(key), tuple(Fact(readable(str(name)), plain(inner)) for name, inner in sorted(value.items())))
        for key, value in sorted(rest.items())
        if isinstance(value, Mapping) and value
    )
    return AuditView(findings, cues, by_modality, facts, blocks)


def _cue(name: str, block: Mapping[str, Any]) -> CueRow:
    return CueRow(
        name,
        percent(block.get("accuracy")),
        interval(block.get("ci95")),
        percent(block.get("chance")),
        plain(block.get("n")),
        "; ".join(_remarks(block)),
    )


def _remarks(block: Mapping[str, Any]) -> list[str]:
    remarks = [str(block["reason"])] if block.get("reason") else []
    if block.get("baseline") is not None:
        remarks.append(f"the same guess without the source: {percent(block['baseline'])}")
    if isinstance(block.get("coverage"), float) and 0 < block["coverage"] < 1:
        remarks.append(f"applies to {percent(block['coverage'], 0)} of the questions")
    return remarks
