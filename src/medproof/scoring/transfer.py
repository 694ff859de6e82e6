"""Train x test matrices: what a model trained on one modality or question type does on the others (Med-R1's tables)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medproof.scoring.intervals import wilson
from medproof.scoring.numbers import Json

GROUPS = {"modality": "modalities", "question_type": "question_types"}
"""Group of items -> the recipe filter that trains on one of them."""
BASE, ALL = "before training", "all"


def transfer(summaries: Sequence[Mapping[str, Any]]) -> Json | None:
    """Per group the matrices of the conditions that all its runs share; None where no two runs form one.

    A row is a run whose model says in `provenance.training` that it was trained on a single value of the group; beside
    them the model that they all began from and the one trained on everything, where there are such runs. A cell is the
    accuracy on the test items of a value, with n and Wilson interval. `overall` is over all test items, `elsewhere`
    over those outside the row's own value: what transferred.
    """
    found = {group: _matrices(group, summaries) for group in GROUPS}
    found = {group: matrices for group, matrices in found.items() if matrices}
    return found or None


def _matrices(group: str, summaries: Sequence[Mapping[str, Any]]) -> dict[str, Json]:
    special = {value: s for s in summaries if (value := _trained_on(s, group)) not in (None, ALL)}
    if len(special) < 2:
        return {}
    begun = {_training(s)["init_weights_hash"] for s in special.values()}
    rows = dict(sorted(special.items()))
    for summary in summaries:
        if _provenance(summary).get("weights_hash") in begun:
            rows = {BASE: summary, **rows}
        elif _trained_on(summary, group) == ALL and _training(summary).get("init_weights_hash") in begun:
            rows[ALL] = summary
    shared = set.intersection(*(set(s.get("conditions") or {}) for s in rows.values()))
    order = [key for key in special[min(special)]["conditions"] if key in shared]
    return {condition: _matrix(group, condition, rows) for condition in order}


def _matrix(group: str, condition: str, rows: Mapping[str, Mapping[str, Any]]) -> Json:
    tables = {train: s["conditions"][condition]["by"][group] for train, s in rows.items()}
    columns = sorted(set().union(*tables.values()))
    return {
        "columns": columns,
        "rows": [
            {
                "train": train,
                "cells": {test: _cell([cells[test]]) for test in columns if test in cells},
                "overall": _cell(cells.values()),
                "elsewhere": _cell(cell for test, cell in cells.items() if test != train) if train in cells else None,
            }
            for train, cells in tables.items()
        ],
    }


def _cell(shares: Any) -> Json:
    """Pooled accuracy of some groups of items."""
    kept = [s for s in shares if s.get("n")]
    n = sum(s["n"] for s in kept)
    right = sum(round(s["accuracy"] * s["n"]) for s in kept)
    if n == 0:
        return {"accuracy": None, "ci95": None, "n": 0}
    return {"accuracy": right / n, "ci95": list(wilson(right, n)), "n": n}


def _trained_on(summary: Mapping[str, Any], group: str) -> str | None:
    """The one value of `group` that a run's model was trained on, ALL for no filter, None for anything else."""
    filters = _training(summary).get("filters")
    if not isinstance(filters, Mapping):
        return None
    others = [name for name in GROUPS.values() if name != GROUPS[group] and filters.get(name)]
    values = filters.get(GROUPS[group])
    if others:
        return None
    return ALL if not values else str(values[0]) if len(values) == 1 else None


def _training(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    found = _provenance(summary).get("training")
    return found if isinstance(found, Mapping) else {}


def _provenance(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    found = summary.get("provenance")
    return found if isinstance(found, Mapping) else {}
