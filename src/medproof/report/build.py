"""From run and training folders to report.html and report.json."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medproof.errors import UserError
from medproof.report.cases import Source, collect
from medproof.report.certificates import certified_json
from medproof.report.completions import MAX_GROUPS, Budget, read_browser
from medproof.report.energy import evidence_energy
from medproof.report.gallery import Load, Pixels
from medproof.report.grounding_view import box_pictures
from medproof.report.page import render
from medproof.report.run_view import SIDE_BY_SIDE, attack_keys, condition_keys, views
from medproof.report.training import families, is_training, read_training
from medproof.runs.atomic import disk_errors, write_bytes
from medproof.runs.store import RunStore, read_run
from medproof.scoring.failures import profile
from medproof.scoring.models import models
from medproof.scoring.scored import score
from medproof.scoring.stages import stages
from medproof.scoring.summary import SCHEMA, combine, summarise_scored


def build(runs: Sequence[Path], out: Path, audit: Mapping[str, Any] | None = None) -> tuple[Path, Path]:
    """Write `out`/report.html and `out`/report.json and return their paths.

    `runs`: run folders, shown side by side in that order, and folders of `medproof train`, with or without runs.
    `audit`: the content of audit.json, shown as a section. The page is one file that makes no request. The same runs
    give the same bytes. Raises UserError for no folder, for one that is neither, and on a full disk.
    """
    if not runs:
        raise UserError("nothing to report: give at least one run folder")
    trained = [path for path in runs if is_training(path)]
    runs = [path for path in runs if path not in trained]
    trainings = [read_training(path) for path in trained]
    budget = Budget()
    browsers = [read_browser(path, MAX_GROUPS // len(trained), budget) for path in trained]
    scored = [score(read_run(path)) for path in runs]
    summaries = [summarise_scored(run) for run in scored]
    run_views = views(summaries)
    sources = [Source(view.label, run, _loader(path)) for view, run, path in zip(run_views, scored, runs, strict=True)]
    for path, run, summary in zip(runs, scored, summaries, strict=True):
        summary["certified"] = certified_json(run, path)
    for source, summary in zip(sources, summaries, strict=True):
        if robust := summary["robust"]:
            robust["evidence"] = evidence_energy(source.scored, source.load, list(robust["attacks"]))
    for summary in summaries:
        summary["profile"] = profile(summary)
    book = collect(sources[:SIDE_BY_SIDE], condition_keys(run_views), attack_keys(run_views))
    report: dict[str, Any] = combine(summaries) if summaries else {"schema": SCHEMA}
    if scored:
        report["stages"] = stages(scored)
        report["models"] = models(scored) if len(scored) <= SIDE_BY_SIDE and not report["stages"] else None
    if trainings:
        report["training"] = [training.to_json() for training in trainings]
    if audit is not None:
        report = {**report, "audit": dict(audit)}
    page = render(
        summaries,
        book,
        audit,
        report.get("transfer"),
        families(trainings, browsers),
        report.get("stages"),
        report.get("models"),
        box_pictures(sources[:SIDE_BY_SIDE], run_views),
    )
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    html_path, json_path = out / "report.html", out / "report.json"
    text = json.dumps(report, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    # A reply may hold half a surrogate pair, which UTF-8 cannot: in JSON it becomes its escape, on the page "?".
    write_bytes(json_path, text.encode("utf-8", "backslashreplace"))
    write_bytes(html_path, page.encode("utf-8", "replace"))
    return html_path, json_path


def _loader(run: Path) -> Load:
    """Pictures of a run, checked against their hash, with the PNG as it is stored."""
    store = RunStore(run)

    def load(sha: str) -> tuple[Pixels, bytes] | None:
        pixels = store.image(sha)
        return None if pixels is None else (pixels, store.image_path(sha).read_bytes())

    return load
