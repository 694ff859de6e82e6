"""Chains of steps (METRICS, "Chain"): how accuracy falls along the stages; does a right end rest on right steps?

c_s of a chain is 1 where all of its steps of stage s are right; with one step per stage that is the step itself. A
chain counts at stage s where it has one; "earlier" are its stages before s. Chains with an `error` or a missing step
are left out and counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medproof.errors import UserError
from medproof.records import Item, Outcome
from medproof.scoring.intervals import Floats
from medproof.scoring.numbers import Json, bootstrapped, share

STAGES = ("S1", "S2", "S3", "S4")


@dataclass(frozen=True)
class Chain:
    """right: per stage that the case has, in order, whether each step is right. cluster: u(i) of its image."""

    case: str
    cluster: str
    right: Mapping[str, tuple[bool, ...]]

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(self.right)

    def passed(self, stage: str) -> bool:
        """c_s."""
        return all(self.right[stage])

    def supported(self, stage: str) -> bool:
        """Whether every earlier stage is right; true of the first."""
        return all(self.passed(earlier) for earlier in self.stages if earlier < stage)

    @property
    def first_failure(self) -> str | None:
        """The first stage that is not right; None of a chain that is right throughout."""
        return next((stage for stage in self.stages if not self.passed(stage)), None)


def chains(items: Sequence[Item], outcomes: Mapping[str, Outcome]) -> tuple[list[Chain], int]:
    """Chains of the items that have a stage, sorted by case, and the number of those left out as incomplete.

    outcomes: by item id. Raises UserError where no item has a stage.
    """
    cases: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.stage is not None:
            cases[item.case].append(item)
    if not cases:
        raise UserError("no item has a stage: chain scores need a benchmark of `medproof bench build`")
    found, incomplete = [], 0
    for case in sorted(cases):
        mine = sorted(cases[case], key=lambda item: (str(item.stage), item.id))
        if any(item.id not in outcomes or outcomes[item.id].status == "error" for item in mine):
            incomplete += 1
            continue
        right: defaultdict[str, list[bool]] = defaultdict(list)
        for item in mine:
            right[str(item.stage)].append(outcomes[item.id].status == "correct")
        found.append(Chain(case, mine[0].cluster, {stage: tuple(flags) for stage, flags in right.items()}))
    return found, incomplete


def chain_scores(found: Sequence[Chain], seed: int = 0) -> Json:
    """The chain block, every figure {value, ci95, n} by cluster bootstrap over the chains it is defined on:

    - `stages`: by stage `accuracy` A_s (of the steps), `prefix` P_s, `conditional` C_s (n: chains right before s),
      `dependence` D_s = C_s - P(c_s = 1 | some earlier stage wrong);
    - `unsupported_correct` U: of the chains whose last stage is right, those with an earlier one wrong (chains of one
      stage do not count);
    - `first_failure`: chains by the first stage that is wrong, "none" where all are right;
    - `slope`: of A_s over s = 1..4, least squares; null with fewer than two stages.
    """
    present = [stage for stage in STAGES if any(stage in chain.right for chain in found)]
    long = [chain for chain in found if len(chain.right) > 1]
    failures = [chain.first_failure or "none" for chain in found]
    return {
        "n": len(found),
        "stages": {stage: _stage(stage, [c for c in found if stage in c.right], seed) for stage in present},
        "unsupported_correct": _conditional(
            long,
            given=[chain.passed(chain.stages[-1]) for chain in long],
            event=[not chain.supported(chain.stages[-1]) for chain in long],
            seed=seed,
        ),
        "first_failure": {name: failures.count(name) for name in (*present, "none")},
        "slope": _slope(found, present, seed),
    }


def _stage(stage: str, mine: Sequence[Chain], seed: int) -> Json:
    clusters = [chain.cluster for chain in mine]
    right = [float(sum(chain.right[stage])) for chain in mine]
    asked = [float(len(chain.right[stage])) for chain in mine]
    passed = [chain.passed(stage) for chain in mine]
    before = [chain.supported(stage) for chain in mine]
    accuracy = bootstrapped([right, asked], {"accuracy": lambda m: m[..., 0] / m[..., 1]}, clusters, seed)["accuracy"]
    kept = [float(a and b) for a, b in zip(passed, before)]
    return {
        "accuracy": accuracy | {"n": int(sum(asked))},
        "prefix": bootstrapped([kept], {"prefix": lambda m: m[..., 0]}, clusters, seed)["prefix"],
        "conditional": _conditional(mine, given=before, event=passed, seed=seed),
        "dependence": _dependence(mine, passed, before, seed),
        "passed": share(passed),
    }


def _conditional(mine: Sequence[Chain], *, given: Sequence[bool], event: Sequence[bool], seed: int) -> Json:
    """P(event | given) with its n, intervals over all chains resampled."""
    columns = [[float(a and b) for a, b in zip(event, given)], [float(b) for b in given]]
    result = bootstrapped(columns, {"p": lambda m: m[..., 0] / m[..., 1]}, [chain.cluster for chain in mine], seed)["p"]
    return result | {"n": sum(given)}


def _dependence(mine: Sequence[Chain], passed: Sequence[bool], before: Sequence[bool], seed: int) -> Json:
    columns = [
        [float(p and b) for p, b in zip(passed, before)],
        [float(b) for b in before],
        [float(p and not b) for p, b in zip(passed, before)],
        [float(not b) for b in before],
    ]

    def difference(m: Floats) -> Floats:
        return np.asarray(m[..., 0] / m[..., 1] - m[..., 2] / m[..., 3])

    return bootstrapped(columns, {"d": difference}, [chain.cluster for chain in mine], seed)["d"]


def _slope(found: Sequence[Chain], present: Sequence[str], seed: int) -> Json:
    """Least squares over the stages that occur, each with the same weight."""
    if len(present) < 2:
        return {"value": None, "ci95": None, "n": len(found)}
    columns = [[float(sum(c.right.get(stage, ()))) for c in found] for stage in present]
    columns += [[float(len(c.right.get(stage, ()))) for c in found] for stage in present]
    x = np.array([float(STAGES.index(stage) + 1) for stage in present])
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()

    def slope(m: Floats) -> Floats:
        return np.asarray((m[..., : len(x)] / m[..., len(x) :]) @ weights)

    return bootstrapped(columns, {"slope": slope}, [chain.cluster for chain in found], seed)["slope"]
