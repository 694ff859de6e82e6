"""The blocks of report.json that a benchmark run adds; each is null where its conditions were not run."""

from __future__ import annotations

from collections.abc import Mapping

from medproof.scoring.behaviour import behaviour
from medproof.scoring.cues import cues
from medproof.scoring.degeneracy import options_block
from medproof.scoring.grounding import grounding
from medproof.scoring.hints import hints
from medproof.scoring.numbers import Json
from medproof.scoring.region import region
from medproof.scoring.scored import Scored


def bench_blocks(scored: Scored, conditions: Mapping[str, Json], seed: int = 0) -> Json:
    """`hints`, `cues`, `region`, `behaviour`, `grounding`, `options`. conditions: the table of the same run."""
    return {
        "hints": hints(scored, seed),
        "cues": cues(scored, seed),
        "region": region(scored, seed),
        "behaviour": behaviour(scored, seed),
        "grounding": grounding(scored, seed),
        "options": options_block(scored, conditions, seed),
    }
