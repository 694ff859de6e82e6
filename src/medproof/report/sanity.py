"""The section on the attack itself: which checks it passed, with numbers, and what a failure means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medproof.report.run_view import RunView
from medproof.report.wording import MISSING, in_words

STAMPS = {"passed": "note", "failed": "stop", "not run": "warn"}


@dataclass(frozen=True)
class CheckRow:
    title: str
    indicator: str
    verdict: str
    stamp: str
    numbers: str
    measures: str
    advice: str


@dataclass(frozen=True)
class SanityView:
    """One run: what its number may be called, which attack was checked on how many questions, and the checks."""

    run: RunView
    state: str
    name: str
    subject: str
    n_items: int | None
    rows: tuple[CheckRow, ...]


def sanity(runs: Sequence[RunView]) -> list[SanityView]:
    """One view per run with attacks, whether it was checked or not."""
    blocks = [(run, (run.summary.get("robust") or {}).get("validation")) for run in runs if run.attacks]
    return [
        SanityView(
            run,
            block["state"],
            block["name"],
            in_words(block["subject"]) if block.get("subject") else "",
            block.get("n_items"),
            tuple(_row(check) for check in block["checks"]),
        )
        for run, block in blocks
        if block
    ]


def _row(check: Mapping[str, Any]) -> CheckRow:
    failed = check["verdict"] == "failed"
    return CheckRow(
        check["title"],
        check["indicator"],
        check["verdict"],
        STAMPS[check["verdict"]],
        check["reason"] or ", ".join(_number(name, value) for name, value in check["numbers"].items()) or MISSING,
        check["measures"],
        f"{check['means']} {check['remedy']}" if failed else "",
    )


def _number(name: str, value: Any) -> str:
    words = in_words(name) if "(" in name else name.replace("_", " ")
    return f"{words}: {value:.3g}" if isinstance(value, float) else f"{words}: {MISSING if value is None else value}"
