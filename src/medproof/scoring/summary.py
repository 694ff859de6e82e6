"""The content of report.json: one run, or several beside each other. Plain JSON, the same bytes for the same run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from medproof.errors import UserError
from medproof.scoring.bench_blocks import bench_blocks
from medproof.scoring.numbers import Json
from medproof.scoring.protocols import chain_block
from medproof.scoring.rationale import rationales
from medproof.scoring.reliance import reliance
from medproof.scoring.robustness import robustness
from medproof.scoring.scored import RunLike, Scored, score
from medproof.scoring.tables import chance, condition_table
from medproof.scoring.transfer import transfer

SCHEMA = 1


def summarise(run: RunLike) -> Json:
    """Score and summarise one run: see DESIGN "Commands" for the blocks.

    `incomplete` is true where any response is an error or missing. Bootstrap draws depend on the run's seed alone.
    Raises UserError where the run's items and responses do not belong together.
    """
    return summarise_scored(score(run))


def summarise_scored(scored: Scored) -> Json:
    """`summarise` for a run that is scored already."""
    meta = scored.meta
    seed = int(meta.get("seed") or 0)
    conditions = {key: condition_table(scored, key, seed) for key in scored.conditions}
    counts = _counts(scored, conditions)
    summary: Json = {
        "name": meta.get("name") or meta.get("model_name") or meta.get("model"),
        "model": meta.get("model"),
        "mode": meta.get("mode"),
        "dataset": meta.get("dataset"),
        "incomplete": bool(counts["errors"] or counts["missing"] or not scored.conditions),
        "n_items": len(scored.items),
        "chance": chance(scored.items.values()),
        "conditions": conditions,
        "reliance": reliance(scored.outcomes, scored.items, meta.get("text_prior"), seed),
        "robust": robustness(scored),
        **bench_blocks(scored, conditions, seed),
        "rationale": rationales(scored, seed),
        "certified": None,
        "chain": chain_block(scored, seed),
        "provenance": {**meta, "counts": counts},
    }
    plain: Json = plain_json(summary)
    return plain


def combine(summaries: Sequence[Json]) -> Json:
    """Several runs in one: the first one's blocks at the top level, all of them under "runs", and how their training
    transfers ("transfer", null where they are no such set).

    Raises UserError for none.
    """
    if not summaries:
        raise UserError("nothing to report: give at least one run folder")
    return {"schema": SCHEMA, **summaries[0], "runs": list(summaries), "transfer": transfer(summaries)}


def plain_json(value: Any) -> Any:
    """`value` as JSON can hold it: tuples as lists, keys as text, NaN and infinities as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(entry) for entry in value]
    return value


def _counts(scored: Scored, conditions: dict[str, Json]) -> dict[str, int]:
    return {
        "items": len(scored.items),
        "responses": sum(table["n_in"] for table in conditions.values()),
        "errors": sum(table["error"] for table in conditions.values()),
        "missing": sum(table["missing"] for table in conditions.values()),
        "not_applicable": sum(table["not_applicable"] for table in conditions.values()),
        "repeated": scored.repeated,
        "quarantined": len(scored.meta.get("quarantined") or ()),
        "clusters": len({item.cluster for item in scored.items.values()}),
    }
