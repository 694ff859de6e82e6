"""The page: everything worked out here, laid out by templates/report.html.j2."""

import json
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from medproof.report import attack_plots, attacks, certificates, facts, plots, tables
from medproof.report.bench import bench_sections
from medproof.report.cases import CaseBook
from medproof.report.certificates import certified_views
from medproof.report.grounding_view import BoxPicture
from medproof.report.rationale import CHANGES, rationale_view
from medproof.report.rationale import COLUMNS as RATIONALE_COLUMNS
from medproof.report.run_view import SIDE_BY_SIDE, RunView, attack_keys, condition_keys, model_name, views
from medproof.report.sanity import sanity
from medproof.report.stages import RA_COLUMNS, REASONING_COLUMNS, TEST_COLUMNS, stages_view
from medproof.report.training import COLUMNS, Family
from medproof.report.transfer import matrices
from medproof.report.wording import MISSING, NAMES, in_words, interval, moment, name_of, percent, points

PAGE = "report.html.j2"
MAX_COLUMNS = 16
"""Of a table with a column per condition; of more conditions it shows only those without a section of their own."""
GROUPS = (("modality", "Modality"), ("question_type", "Question type"), ("source", "Source"))


def render(
    summaries: Sequence[dict[str, Any]],
    book: CaseBook,
    audit: Mapping[str, Any] | None,
    transfer: Mapping[str, Any] | None = None,
    training: Sequence[Family] = (),
    stages: Mapping[str, Any] | None = None,
    models: Mapping[str, Any] | None = None,
    boxes: Sequence[BoxPicture] = (),
) -> str:
    """HTML of the whole page. Depends on nothing but its arguments. transfer, stages, models: of those of `scoring`."""
    runs = views(summaries)
    keys = condition_keys(runs)
    columns = keys if len(keys) <= MAX_COLUMNS else _plain(runs, keys)
    heat = [(name, tables.heat(runs, columns, group), group) for group, name in GROUPS]
    return (
        _environment()
        .get_template(PAGE)
        .render(
            runs=runs,
            many=len(runs) > SIDE_BY_SIDE,
            keys=keys,
            title=_title(summaries, training),
            created=moment(max((str(_provenance(s).get("created") or "") for s in summaries), default="")),
            intervals=_intervals(runs, keys),
            headline=tables.headline(runs, keys),
            headline_columns=tables.HEADLINE_COLUMNS,
            flips=tables.flips(runs, keys),
            flip_columns=tables.FLIP_COLUMNS,
            **attack_section(runs),
            **bench_sections(runs, models, boxes),
            certified=certified_views(runs),
            certified_columns=certificates.COLUMNS,
            certified_group_columns=certificates.GROUP_COLUMNS,
            transfer=matrices(transfer),
            stages=stages_view(stages, runs),
            stages_ra=RA_COLUMNS,
            stages_reasoning=REASONING_COLUMNS,
            stages_tests=TEST_COLUMNS,
            rationale=rationale_view(runs),
            rationale_columns=tuple(RATIONALE_COLUMNS.values()),
            rationale_changes=tuple(CHANGES.values()),
            training=training,
            training_columns=COLUMNS,
            reliance_table=[(run, _reliance_cells(run)) for run in runs],
            reliance_columns=list(RELIANCE.values()),
            reliance=[(run, _reliance_bars(index, run), _reliance_facts(run)) for index, run in enumerate(runs)],
            heat=[(name, found) for name, found, group in heat if _varied(found, group)],
            readings=tables.readings(runs, keys),
            audit=None if audit is None else facts.audit_view(audit),
            provenance=[
                (run, facts.provenance(_provenance(run.summary)), facts.quarantined(_provenance(run.summary)))
                for run in runs
            ],
            book=book,
            case_runs=SIDE_BY_SIDE,
            case_json=script_json(book.data),
            picture_json=script_json(book.pictures),
            css=_asset("report.css"),
            chain_js=_asset("chain.js"),
            js=_asset("report.js"),
            training_js=_asset("training.js"),
        )
    )


def attack_section(runs: Sequence[RunView]) -> dict[str, Any]:
    """What templates/robust.html.j2 and sanity.html.j2 show."""
    robust, effort = attacks.by_attack(runs, attack_keys(runs))
    return {
        "robust": robust,
        "robust_columns": attacks.ATTACK_COLUMNS,
        "effort": effort,
        "effort_columns": attacks.EFFORT_COLUMNS,
        "worst": attacks.worst_case(runs),
        "worst_columns": attacks.WORST_COLUMNS,
        "members": attacks.members(runs),
        "member_columns": attacks.MEMBER_COLUMNS,
        "unions": attacks.unions(runs),
        "union_columns": attacks.UNION_COLUMNS,
        "curves": attack_plots.by_eps(runs),
        "efforts": attack_plots.by_effort(runs),
        "energy": attack_plots.by_evidence(runs),
        "sanity": sanity(runs),
    }


def script_json(value: Any) -> Markup:
    """JSON that may stand in a <script> element: ASCII only, with <, > and & escaped, so no text can end the element
    or open a comment, and U+2028 stays a JSON escape.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


@cache
def _environment() -> Environment:
    loader = PackageLoader("medproof.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters["percent"] = percent
    return environment


def _asset(name: str) -> Markup:
    """A file of ours, to stand unescaped in <style> or <script>."""
    text = (files("medproof.report") / "templates" / name).read_text(encoding="utf-8")
    return Markup(text)


def _title(summaries: Sequence[dict[str, Any]], training: Sequence[Family]) -> str:
    if not summaries:
        return f"Training of {_named([family.title for family in training], 'recipes')}"
    models = dict.fromkeys(map(model_name, summaries))
    data = dict.fromkeys(str(s.get("dataset") or "data").rstrip("/").rpartition("/")[2] for s in summaries)
    return f"{_named(models, 'models')} on {', '.join(data)}"


def _named(names: Collection[str], what: str) -> str:
    return ", ".join(names) if len(names) <= SIDE_BY_SIDE else f"{len(names)} {what}"


def _provenance(summary: Mapping[str, Any]) -> dict[str, Any]:
    block = summary.get("provenance")
    return block if isinstance(block, dict) else {}


def _point(name: str, block: Mapping[str, Any], style: str, marker: str) -> plots.Point:
    chance = block.get("chance")
    return plots.Point(name, float(block["accuracy"]), plots.bounds(block), chance, style, marker)


def _intervals(runs: Sequence[RunView], keys: Sequence[str]) -> Markup | None:
    rows = []
    for key in keys:
        found = [(run, block) for run in runs if (block := run.answered(key))]
        if found:
            rows.append(plots.Row(in_words(key), tuple(_point(r.label, b, r.style, r.marker) for r, b in found)))
    return plots.intervals("intervals", "Accuracy under each condition with 95 % intervals", rows) if rows else None


def _reliance_bars(number: int, run: RunView) -> Markup | None:
    """Real image against every way of not seeing it."""
    clean = run.answered("clean")
    if clean is None:
        return None
    names = {"clean": "Real image", "shuffled": "Image of another case", "blank": "Blank image", "noimage": "No image"}
    rows = [
        _point(name, block, "real" if key == "clean" else "unseen", "circle")
        for key, name in names.items()
        if (block := run.answered(key))
    ]
    if run.text_prior is not None:
        rows.append(_point("Text prior (never sees an image)", run.text_prior, "unseen", "circle"))
    if run.given_modality is not None:
        rows.append(plots.Point("Text prior, told the modality", run.given_modality, None, None, "unseen", "circle"))
    return plots.bars(f"reliance-{number}", f"{run.label}: what the image is worth", rows, clean.get("chance"))


RELIANCE = {
    "VRS": ("Visual reliance (VRS)", "accuracy on the real image minus accuracy on another case's image"),
    "blank_drop": ("Blank drop", "accuracy on the real image minus accuracy on a blank one"),
    "IS": ("Image sensitivity (IS)", "share of answers that change with another case's image"),
    "image_reliant": ("Image-reliant answers", "share of answers that change when the image is blank"),
    "image_reliant_correct": ("Right and image-reliant", "right, with an answer that changes when the image is blank"),
    "kappa": ("Prior-corrected kappa", "share of the way from the best blind guess to perfect"),
}
_DIFFERENCES = frozenset({"VRS", "blank_drop"})


def _reliance_facts(run: RunView) -> list[tuple[str, str, str, str]]:
    """(name, value, interval, meaning) of the numbers derived from the bars."""
    rows = []
    for key, (name, meaning) in RELIANCE.items():
        block = (run.summary.get("reliance") or {}).get(key)
        if block and block.get("value") is not None:
            value = block["value"]
            shown = points(value) if key in _DIFFERENCES else f"{value:.2f}" if key == "kappa" else percent(value)
            ci = block.get("ci95")
            bounds = f"{ci[0]:.2f} to {ci[1]:.2f}" if ci and key == "kappa" else interval(ci)
            rows.append((name, shown, bounds.replace("-", "−"), meaning))
    return rows


def _reliance_cells(run: RunView) -> list[tables.Cell]:
    found = {name: tables.Cell(value, ci) for name, value, ci, _ in _reliance_facts(run)}
    return [found.get(name, tables.Cell(MISSING)) for name, _ in RELIANCE.values()]


def _plain(runs: Sequence[RunView], keys: Sequence[str]) -> list[str]:
    """Images as they are, controls and attacks: the probes of a benchmark have sections of their own."""
    attacks = attack_keys(runs)
    return [key for key in keys if key in attacks or name_of(key) in NAMES]


def _varied(found: Sequence[tables.HeatTable], group: str) -> bool:
    """Whether a heat map says something: sources only when there are several."""
    return bool(found) and (group != "source" or any(len(table.rows) > 1 for table in found))
