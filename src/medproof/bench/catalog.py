"""All task categories that are built in, in the order of their stages."""

from __future__ import annotations

from medproof.bench import acquisition, assessment, characters, findings
from medproof.bench.task import Task

TASKS: tuple[Task, ...] = (*acquisition.TASKS, *findings.TASKS, *characters.TASKS, *assessment.TASKS)


def task_table(tasks: tuple[Task, ...] = TASKS) -> str:
    """The tasks as a Markdown table, for docs/bench.md."""
    lines = ["| stage | task | answer format | read from | builds on |", "|---|---|---|---|---|"]
    for task in tasks:
        after = ", ".join(task.after) or "–"
        lines.append(f"| {task.stage} | `{task.slug}` | {task.format} | {task.annotation} | {after} |")
    return "\n".join(lines) + "\n"
