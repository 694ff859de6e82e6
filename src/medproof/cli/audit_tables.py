"""An audit as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medproof.cli.console import interval, new_table, percent, say, show

if TYPE_CHECKING:
    from rich.table import Table

    from medproof.datasets.audit import AuditReport, Cue

TOP_GROUPS = 8


def show_report(report: AuditReport) -> None:
    """Print an audit: cues, modalities, overlap, shortcuts, balance, then its findings, one line each."""
    show(_cues(report))
    show(_modalities(report))
    show(_overlap(report))
    if report.source.by_group:
        show(_shortcuts(report))
    show(_balance(report))
    for finding in report.findings:
        say(f"! {finding}")
    if not report.findings:
        say("nothing found: no cue beats chance by 10 points, and the splits share nothing")


def _cues(report: AuditReport) -> Table:
    title = f"{report.dataset}: {report.n_test} test items, {report.n_train} training items"
    numbers = ("accuracy %", "95 % CI", "chance %", "items")
    table = new_table(f"{title}. Answering without the image", ("cue", *numbers, "remark"), right=numbers)
    rows: list[tuple[str, Cue]] = [
        ("text prior, pooled", report.text_prior_pooled),
        ("text prior, given modality", report.text_prior),
        ("always one letter", report.letter_prior),
        ("longest option", report.longest_option),
        ("only option with a full stop", report.full_stop),
        ("exclude options never right", report.never_correct),
    ]
    for name, cue in rows:
        table.add_row(*_cue_row(name, cue))
    return table


def _cue_row(name: str, cue: Cue) -> tuple[str, ...]:
    remark = cue.reason or ("" if cue.coverage == 1 else f"applies to {cue.coverage:.1%}")
    return (name, percent(cue.accuracy), interval(cue.ci95), percent(cue.chance), str(cue.n), remark)


def _modalities(report: AuditReport) -> Table:
    numbers = ("test items", "text prior %", "95 % CI", "chance %")
    table = new_table(
        "Text prior by modality, fitted on that modality", ("modality", *numbers, "remark"), right=numbers
    )
    for modality, count in report.modalities.items():
        cue = report.text_prior.by_modality.get(modality)
        if cue is None:
            table.add_row(modality, str(count), "–", "", "–", report.text_prior.reason or "")
        else:
            table.add_row(
                modality,
                str(count),
                percent(cue.accuracy),
                interval(cue.ci95),
                percent(cue.chance),
                cue.reason or "",
            )
    return table


def _overlap(report: AuditReport) -> Table:
    table = new_table("Shared by test and training", ("what", "shared", "of", "remark"), right=("shared", "of"))
    images, patients = report.images, report.patients
    note = images.reason or ""
    rows = (
        ("image paths", images.by_path, images.test_images, note if images.by_path is None else ""),
        ("identical files", images.by_content, images.test_images, note),
        ("near-duplicates", images.near_duplicates, images.test_images, note),
        ("patients", patients.shared, patients.test_patients, patients.reason or ""),
    )
    for name, shared, total, remark in rows:
        table.add_row(name, "–" if shared is None else str(shared), str(total), remark)
    return table


def _shortcuts(report: AuditReport) -> Table:
    numbers = ("from source %", "without %", "items")
    table = new_table("Answer predicted from the source alone", ("question group", *numbers), right=numbers)
    source = report.source
    table.add_row("all", percent(source.accuracy), percent(source.baseline), str(source.n))
    groups = sorted(source.by_group.items(), key=lambda pair: (pair[1].baseline - pair[1].accuracy, pair[0]))
    for name, group in groups[:TOP_GROUPS]:
        if group.accuracy > group.baseline:
            table.add_row(name, percent(group.accuracy), percent(group.baseline), str(group.n))
    return table


def _balance(report: AuditReport) -> Table:
    numbers = ("items", "answers", "share %", "chance %")
    columns = ("question type", *numbers, "most frequent answer", "letters %")
    table = new_table("Balance of the answers", columns, right=numbers)
    for name, row in report.balance.items():
        letters = " ".join(f"{letter} {percent(share, 0)}" for letter, share in row.letters.items())
        table.add_row(
            name, str(row.n), str(row.answers), percent(row.top_share), percent(row.chance), row.top_answer, letters
        )
    return table
