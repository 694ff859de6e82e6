"""What the benchmark adds to the page; every part is empty where the runs lack its conditions."""

from collections.abc import Mapping, Sequence
from typing import Any

from medproof.report import chain_view, grounding_view, hints_view, probes_view, profile_view
from medproof.report.grounding_view import BoxPicture
from medproof.report.run_view import RunView


def bench_sections(
    runs: Sequence[RunView], models: Mapping[str, Any] | None, boxes: Sequence[BoxPicture]
) -> dict[str, Any]:
    """What the templates profile, chain, hints, probes, boxes, options and models show."""
    compared = profile_view.model_rows(models, runs)
    return {
        "profile": profile_view.profile_rows(runs),
        "chains": chain_view.chain_views(runs),
        "chain_columns": chain_view.STAGE_COLUMNS,
        "chain_short_columns": chain_view.SHORT_COLUMNS,
        "hints": hints_view.hint_views(runs),
        "hint_columns": tuple(hints_view.ACCURACY.values()),
        "follow_columns": tuple(hints_view.FOLLOWS.values()),
        "hint_effect_columns": hints_view.EFFECT_COLUMNS,
        "guess_columns": hints_view.GUESS_COLUMNS,
        "sycophancy": hints_view.by_source(runs),
        "cue_lines": probes_view.cue_lines(runs),
        "cue_columns": probes_view.CUE_COLUMNS,
        "region_lines": probes_view.region_lines(runs),
        "region_columns": probes_view.REGION_COLUMNS,
        "behaviour_lines": probes_view.behaviour_lines(runs),
        "behaviour_columns": probes_view.BEHAVIOUR_COLUMNS,
        "circular_lines": probes_view.circular_lines(runs),
        "circular_columns": probes_view.CIRCULAR_COLUMNS,
        "calibration_lines": probes_view.calibration_lines(runs),
        "calibration_columns": probes_view.CALIBRATION_COLUMNS,
        "option_alarms": probes_view.alarms(runs),
        "grounding_lines": grounding_view.grounding_lines(runs),
        "grounding_perturbed": grounding_view.perturbed_lines(runs),
        "grounding_columns": grounding_view.COLUMNS,
        "boxes": boxes,
        "model_rows": [row for row in compared if row[3] in grounding_view.SEEN],
        "model_rows_other": [row for row in compared if row[3] not in grounding_view.SEEN],
        "model_columns": profile_view.MODEL_COLUMNS,
        "models_skipped": (models or {}).get("not_compared", 0),
    }
