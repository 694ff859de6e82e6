"""Models side by side on the same items: exact McNemar for every pair of runs and condition, Holm over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from medproof.scoring.compare import compare
from medproof.scoring.numbers import Json
from medproof.scoring.paired import holm
from medproof.scoring.scored import Scored, counted


def models(runs: Sequence[Scored]) -> Json | None:
    """Null for fewer than two runs, or runs without a condition in common.

    `tests`: rows of `compare.compare` with `first`, `second` (places in `runs`) and `p_holm` over all rows;
    `not_compared`: pairs of arms that do not hold the same items.
    """
    tests, skipped = [], 0
    for first, second in combinations(range(len(runs)), 2):
        a, b = runs[first], runs[second]
        for key in (key for key in a.conditions if key in b.outcomes):
            left, right = counted(a.outcomes[key]), counted(b.outcomes[key])
            if not left or left.keys() != right.keys():
                skipped += 1
                continue
            (row,) = compare(a, b, [(key, key)])
            tests.append({**row, "first": first, "second": second})
    if not tests and not skipped:
        return None
    adjusted = holm([row["p"] for row in tests])
    return {"tests": [{**row, "p_holm": p} for row, p in zip(tests, adjusted, strict=True)], "not_compared": skipped}
