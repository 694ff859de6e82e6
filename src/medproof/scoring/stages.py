"""Training stages beside each other under the same attacks: SafeMed-R1's main table, from stored responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np

from medproof.records import MODES
from medproof.scoring.attack_key import AttackKey, attacks
from medproof.scoring.intervals import Floats
from medproof.scoring.numbers import Json, bootstrapped, share
from medproof.scoring.paired import holm, mcnemar
from medproof.scoring.rationale import reasoning
from medproof.scoring.scored import CLEAN, Scored, counted, is_correct, named
from medproof.scoring.tables import chance
from medproof.scoring.validation import validation
from medproof.scoring.worst_case import Threat, arm, looking, survivors, threats

BASE = "base"
STAGES = (BASE, "SFT", "AT-SFT", "GRPO", "AT-GRPO")


@dataclass(frozen=True)
class Column:
    """One attack, or with `threat` the worst case over those that count in that ball."""

    name: str
    keys: tuple[AttackKey, ...]
    threat: Threat | None = None


def stages(runs: Sequence[Scored]) -> Json | None:
    """The table {stage} x {prompt} x {attack}; None where no two runs share an attack.

    - `columns`: the attacks that two or more runs share, and for each budget the worst case over those that count
      there, where they are several that two runs share;
    - `rows`: per run with clean answers and one of these attacks, direct before reasoning and base before AT-GRPO, with
      `run`, its place in `runs`: `clean`, `blank`, `chance`, `validation`, and in `cells` per column RA, RA_star,
      RA_blank_wrong and `kept` = (RA - chance) / (clean accuracy - chance), what is left of the accuracy above chance;
      null for an attack that was not run. `by` modality the same without `kept`. `reasoning` where there is any: see
      `rationale.reasoning`, for clean and each attack;
    - `tests`: exact McNemar of every column between rows of one prompt, and between the prompts of one model, over the
      same items, p by Holm over all of them; pairs of rows with other items are in `not_compared`.
    """
    columns = _columns(runs)
    if not columns:
        return None
    asked = [
        (number, run)
        for number, run in enumerate(runs)
        if CLEAN in run.outcomes and any(key.condition in run.outcomes for column in columns for key in column.keys)
    ]
    ranked = sorted(asked, key=lambda pair: (MODES.index(pair[1].meta["mode"]), STAGES.index(stage(pair[1].meta))))
    arms = [{CLEAN: survivors(run, {})} | _survived(run, columns) for _, run in ranked]
    tests, apart = _tests([run for _, run in ranked], arms)
    return {
        "columns": [_told(column) for column in columns],
        "rows": [_row(number, run, found, columns) for (number, run), found in zip(ranked, arms, strict=True)],
        "tests": tests,
        "not_compared": apart,
    }


def stage(meta: Mapping[str, Any]) -> str:
    """Which of `STAGES` a run's model has reached: by its last training, as run.json tells it.

    AT: its recipe attacked the images within a ball that is more than a point.
    """
    training = meta.get("training")
    if not isinstance(training, Mapping):
        return BASE
    section = (training.get("recipe") or {}).get("adversarial") or {}
    attacked = section.get("kind") == "pgd" and Fraction(section.get("eps") or 0) * Fraction(section["share"]) > 0
    return f"{'AT-' if attacked else ''}{'GRPO' if training.get('kind') == 'grpo' else 'SFT'}"


def _columns(runs: Sequence[Scored]) -> list[Column]:
    keys: dict[str, AttackKey] = {}
    times: dict[str, int] = {}
    for run in runs:
        for key in attacks(run.conditions, run.meta.get("arguments")):
            keys.setdefault(key.condition, key)
            times[key.condition] = times.get(key.condition, 0) + 1
    shared = [key for condition, key in keys.items() if times[condition] > 1]
    single = [Column(key.condition, (key,)) for key in shared]
    for threat in threats(shared):
        within = tuple(key for key in shared if threat.covers(key))
        rows = sum(all(key.condition in run.outcomes for key in within) for run in runs)
        if len(within) > 1 and rows > 1:
            eps = f"{threat.eps * 255}/255" if threat.norm == "linf" else f"{float(threat.eps):g}"
            single.append(Column(f"worst({threat.norm},{eps})", within, threat))
    return single


def _told(column: Column) -> Json:
    budget = column.threat.eps if column.threat else column.keys[0].eps
    return {
        "name": column.name,
        "norm": column.keys[0].norm,
        "eps_255": None if budget is None else float(budget * 255),
        "members": [key.condition for key in column.keys],
    }


def _survived(run: Scored, columns: Sequence[Column]) -> dict[str, dict[str, bool]]:
    """Column -> item id -> right clean and under every attack of it; columns that were run only."""
    return {
        column.name: survivors(run, {key.condition: arm(run, key, column.threat) for key in column.keys})
        for column in columns
        if all(key.condition in run.outcomes for key in column.keys)
    }


def _row(number: int, run: Scored, arms: Mapping[str, Mapping[str, bool]], columns: Sequence[Column]) -> Json:
    meta, seed = run.meta, int(run.meta.get("seed") or 0)
    known = attacks(run.conditions, meta.get("arguments"))
    told = {column.name: arms.get(column.name) for column in columns}
    reasoned = [CLEAN, *(c.name for c in columns if c.threat is None and c.name in arms)]
    return {
        "run": number,
        "stage": stage(meta),
        "model": meta.get("model"),
        "mode": meta["mode"],
        **_standing(run, list(run.items)),
        "validation": {k: v for k, v in validation(run.sanity, known).items() if k in ("state", "name", "reason")},
        "cells": {
            name: None if found is None else {**_shares(run, found), "kept": _kept(run, found, seed)}
            for name, found in told.items()
        },
        "by": {"modality": _by_modality(run, told)},
        "reasoning": reasoning(run, reasoned, seed) if meta["mode"] != "direct" else None,
    }


def _standing(run: Scored, ids: Sequence[str]) -> Json:
    """Accuracy on the clean and on the blank image of some items."""
    blank = named(run.outcomes, "blank")
    clean = counted(run.outcomes[CLEAN])
    unseen = None if blank is None else counted(run.outcomes[blank])
    return {
        "clean": share((is_correct(clean[i]) for i in ids if i in clean), "accuracy"),
        "blank": unseen and share((is_correct(unseen[i]) for i in ids if i in unseen), "accuracy"),
        "chance": chance(run.items[i] for i in ids if i in clean),
    }


def _shares(run: Scored, survived: Mapping[str, bool]) -> dict[str, Json]:
    return {"RA": share(survived.values()), **looking(run, survived)}


def _by_modality(run: Scored, told: Mapping[str, Mapping[str, bool] | None]) -> dict[str, Json]:
    groups: dict[str, list[str]] = {}
    for item_id, item in run.items.items():
        groups.setdefault(item.modality, []).append(item_id)
    return {
        modality: {
            **_standing(run, ids),
            "cells": {
                name: None if found is None else _shares(run, {i: found[i] for i in ids if i in found})
                for name, found in told.items()
            },
        }
        for modality, ids in sorted(groups.items())
    }


def _kept(run: Scored, survived: Mapping[str, bool], seed: int) -> Json:
    """Of the clean accuracy above chance on the same items; null where there is none above chance."""

    def share_kept(means: Floats) -> Floats:
        above = means[..., 1] - means[..., 2]
        return np.asarray((means[..., 0] - means[..., 2]) / np.where(above > 1e-12, above, np.nan))

    clean = run.outcomes[CLEAN]
    columns = [
        [float(stays) for stays in survived.values()],
        [float(is_correct(clean[i])) for i in survived],
        [1 / len(run.items[i].options) for i in survived],
    ]
    return bootstrapped(columns, {"kept": share_kept}, [run.items[i].cluster for i in survived], seed)["kept"]


def _tests(
    runs: Sequence[Scored], arms: Sequence[Mapping[str, Mapping[str, bool]]]
) -> tuple[list[Json], list[list[int]]]:
    """Rows by their place: tests of every pair that is worth one, and the pairs whose items differ."""
    tests: list[Json] = []
    apart: list[list[int]] = []
    for a, b in combinations(range(len(runs)), 2):
        one, other = runs[a].meta, runs[b].meta
        if one["mode"] != other["mode"] and one.get("weights_hash") != other.get("weights_hash"):
            continue
        for name in (name for name in arms[a] if name in arms[b]):
            left, right = arms[a][name], arms[b][name]
            if left.keys() != right.keys() or not left:
                apart.append([a, b])
                break
            found = mcnemar(left, right)
            difference = (found.only_b - found.only_a) / found.n
            counts = {"n": found.n, "only_a": found.only_a, "only_b": found.only_b}
            tests.append({"a": a, "b": b, "column": name, **counts, "difference": difference, "p": found.p})
    adjusted = holm([test["p"] for test in tests])
    return [{**test, "p_holm": p} for test, p in zip(tests, adjusted, strict=True)], apart
