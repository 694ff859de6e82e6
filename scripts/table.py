"""Runs as one Markdown table: accuracy in per cent with 95 % interval, overall and per group, under every condition.

python scripts/table.py runs/direct runs/think --by modality
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from medproof.runs.store import read_run
from medproof.scoring.summary import summarise


def main() -> None:
    """Print one table per run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--by", choices=["modality", "question_type", "source"], default="modality")
    args = parser.parse_args()
    for path in args.runs:
        print("\n".join(table(summarise(read_run(path)), args.by)) + "\n")


def table(summary: dict[str, Any], by: str) -> list[str]:
    """Lines of a Markdown table; the first row is all items."""
    conditions = summary["conditions"]
    head = [f"{summary['mode']} prompt", "n", *conditions]
    lines = [_row(head), _row(["---"] * len(head))]
    clean = conditions["clean"]
    lines.append(_row(["**all**", str(clean["n"]), *(cell(c) for c in conditions.values())]))
    for name, group in clean["by"][by].items():
        cells = [cell(c["by"][by][name]) for c in conditions.values()]
        lines.append(_row([name, str(group["n"]), *cells]))
    return lines


def cell(block: dict[str, Any]) -> str:
    """`82.1 (79.3-84.6)`."""
    if block["accuracy"] is None:
        return "-"
    low, high = block["ci95"]
    return f"{100 * block['accuracy']:.1f} ({100 * low:.1f}-{100 * high:.1f})"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
