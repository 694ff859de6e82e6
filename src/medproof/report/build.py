"""From run folders to report.html and report.json."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medproof.errors import UserError
from medproof.report.cases import Source, collect
from medproof.report.gallery import Load, Pixels
from medproof.report.page import render
from medproof.report.run_view import attack_keys, condition_keys, views
from medproof.runs.atomic import disk_errors, write_bytes
from medproof.runs.store import RunStore, read_run
from medproof.scoring.scored import score
from medproof.scoring.summary import combine, summarise_scored


def build(runs: Sequence[Path], out: Path, audit: Mapping[str, Any] | None = None) -> tuple[Path, Path]:
    """Write `out`/report.html and `out`/report.json and return their paths.

    `runs`: run folders, shown side by side in that order. `audit`: the content of audit.json, shown as a section. The
    page is one file that makes no request. The same runs give the same bytes. Raises UserError for no run, for a
    folder that is none, and on a full disk.
    """
    if not runs:
        raise UserError("nothing to report: give at least one run folder")
    scored = [score(read_run(path)) for path in runs]
    summaries = [summarise_scored(run) for run in scored]
    run_views = views(summaries)
    sources = [Source(view.label, run, _loader(path)) for view, run, path in zip(run_views, scored, runs, strict=True)]
    book = collect(sources, condition_keys(run_views), attack_keys(run_views))
    report = combine(summaries)
    if audit is not None:
        report = {**report, "audit": dict(audit)}
    page = render(summaries, book, audit)
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
