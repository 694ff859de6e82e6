"""The chain block of report.json: chain scores by protocol and condition, and what a model's own errors cost it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from medproof.records import Item
from medproof.scoring.chain import STAGES, Chain, chain_scores, chains
from medproof.scoring.intervals import Floats
from medproof.scoring.numbers import Json, bootstrapped
from medproof.scoring.scored import CLEAN, Scored, both, is_correct

TEACHER_FORCED, SELF_CONDITIONED = "steps(teacher_forced)", "steps(self_conditioned)"
PROTOCOLS: dict[str, str] = {
    CLEAN: "independent",
    TEACHER_FORCED: "teacher_forced",
    SELF_CONDITIONED: "self_conditioned",
    "steps(joint)": "joint",
}
"""Names of METRICS by condition."""


def chain_block(scored: Scored, seed: int = 0) -> Json | None:
    """None where no item has a stage. Every figure is {value, ci95, n}, by cluster bootstrap.

    - `chains`: cases with steps; `stages`: those that occur;
    - `protocols`: by condition, of `PROTOCOLS` those that the run holds, `chain_scores` and `incomplete`: chains left
      out because a step is an error, missing or not applicable;
    - `perturbed`: by every other condition under which a chain is complete, `n`, `incomplete`, and by stage `accuracy`
      and `prefix`;
    - `own_errors`: accuracy teacher-forced minus self-conditioned by stage and over `all`, on the steps counted in
      both: what the model's own mistakes cost it further on. Null unless the run holds both.
    """
    steps = [item for item in scored.items.values() if item.stage is not None]
    if not steps:
        return None
    found = {key: chains(steps, scored.outcomes[key]) for key in scored.conditions}
    protocols = [key for key in PROTOCOLS if key in found]
    return {
        "chains": len({item.case for item in steps}),
        "stages": [stage for stage in STAGES if any(item.stage == stage for item in steps)],
        "protocols": {key: {**chain_scores(found[key][0], seed), "incomplete": found[key][1]} for key in protocols},
        "perturbed": {
            key: {**_short(complete, seed), "incomplete": incomplete}
            for key, (complete, incomplete) in found.items()
            if key not in PROTOCOLS and complete
        },
        "own_errors": _own_errors(scored, steps, seed),
    }


def _short(found: Sequence[Chain], seed: int) -> Json:
    """Accuracy and prefix of every stage from one set of resamples, which is quick."""
    present = [stage for stage in STAGES if any(stage in chain.right for chain in found)]
    columns: list[list[float]] = []
    for stage in present:
        right = [chain.right.get(stage, ()) for chain in found]
        kept = [stage in c.right and c.passed(stage) and c.supported(stage) for c in found]
        columns += [
            [float(sum(flags)) for flags in right],
            [float(len(flags)) for flags in right],
            [float(flag) for flag in kept],
            [float(bool(flags)) for flags in right],
        ]

    statistics: dict[str, Callable[[Floats], Floats]] = {
        f"{stage} {name}": partial(_ratio, 4 * place + shift)
        for place, stage in enumerate(present)
        for name, shift in (("accuracy", 0), ("prefix", 2))
    }
    figures = bootstrapped(columns, statistics, [chain.cluster for chain in found], seed)

    def figure(stage: str, name: str, asked: int) -> Json:
        return figures[f"{stage} {name}"] | {"n": int(sum(columns[4 * present.index(stage) + asked]))}

    return {
        "n": len(found),
        "stages": {s: {"accuracy": figure(s, "accuracy", 1), "prefix": figure(s, "prefix", 3)} for s in present},
    }


def _ratio(column: int, means: Floats) -> Floats:
    return np.asarray(means[..., column] / means[..., column + 1])


def _own_errors(scored: Scored, steps: Sequence[Item], seed: int) -> Json | None:
    if TEACHER_FORCED not in scored.outcomes or SELF_CONDITIONED not in scored.outcomes:
        return None
    teacher, own = scored.outcomes[TEACHER_FORCED], scored.outcomes[SELF_CONDITIONED]
    lost = {name: (float(is_correct(a)), float(is_correct(b))) for name, a, b in both(teacher, own)}
    by_stage = {stage: [item for item in steps if item.stage == stage] for stage in STAGES}
    return {
        "stages": {stage: _difference(mine, lost, seed) for stage, mine in by_stage.items() if mine},
        "all": _difference(steps, lost, seed),
    }


def _difference(items: Sequence[Item], arms: Mapping[str, tuple[float, float]], seed: int) -> Json:
    mine = [item for item in items if item.id in arms]
    columns = [[arms[item.id][arm] for item in mine] for arm in (0, 1)]
    statistic = {"d": lambda means: means[..., 0] - means[..., 1]}
    return bootstrapped(columns, statistic, [item.cluster for item in mine], seed)["d"]
