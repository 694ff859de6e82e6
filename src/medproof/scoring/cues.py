"""Marks in the image (METRICS, "Pairs"): cue-follow and cue benefit, both minus the control cue."""

from __future__ import annotations

from collections import defaultdict

from medproof.records import Condition
from medproof.scoring.contrasts import add_holm
from medproof.scoring.numbers import Json
from medproof.scoring.scored import Scored
from medproof.scoring.suggestions import Arms, suggestion

_ARMS = {
    "cue": {"true": "right", "wrong": "wrong", "elsewhere": "control"},
    "burned_in": {"correct": "right", "wrong": "wrong", "irrelevant": "irrelevant", "neutral": "control"},
    "marker": {"correct": "right", "wrong": "wrong", "neutral": "control"},
}
"""By condition: what its last argument stands for."""


def cues(scored: Scored, seed: int = 0) -> Json | None:
    """The cues block; null without cues. `rows`, one per `cue` (box, circle, arrow, contour, burned_in, marker),
    of what `suggestions.suggestion` finds:

    - `excess`: cue-follow P(a = cued wrong option | c_0 = 1) less the same under the control cue; only items whose
      options are places, or that have words burned in, name an option;
    - `lift`: cue benefit, accuracy with the cue at the true region less that with the control cue; `harm`: the same at
      the wrong region.

    Holm over all tests of the block.
    """
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for key in filter(scored.outcomes.get, scored.conditions):
        condition = Condition.parse(key)
        if condition.name in _ARMS:
            *shape, last = (*condition.args, *condition.kwargs.values())
            found[shape[0] if shape else condition.name][_ARMS[condition.name][last]] = key
    if not found:
        return None
    rows = [{"cue": name, **suggestion(scored, Arms.of(keys), seed)} for name, keys in found.items()]
    return {"rows": rows, "tests": add_holm(rows)}
