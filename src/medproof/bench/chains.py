"""Items of one case as a chain: who builds on whom, without circles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from medproof.bench.task import Task, task_of
from medproof.errors import UserError
from medproof.records import Item

STAGES = ("S1", "S2", "S3", "S4")


def topological(after: Mapping[str, Sequence[str]], what: str = "the chain") -> list[str]:
    """Names in an order in which each stands behind all it builds on; of several, the order given.

    Raises UserError, with the circle, where there is one, and for a name that is not there.
    """
    done: dict[str, None] = {}
    for name in after:
        _visit(name, after, done, [], what)
    return list(done)


def _visit(name: str, after: Mapping[str, Sequence[str]], done: dict[str, None], path: list[str], what: str) -> None:
    if name in done:
        return
    if name in path:
        circle = " -> ".join([*path[path.index(name) :], name])
        raise UserError(f"{what} goes in a circle: {circle}; take one of these links out")
    for other in after[name]:
        if other not in after:
            raise UserError(f"{what}: {name!r} builds on {other!r}, which is not there; name one that is")
        _visit(other, after, done, [*path, name], what)
    done[name] = None


def check_tasks(tasks: Iterable[Task]) -> tuple[Task, ...]:
    """The tasks in chain order. Raises UserError for a repeated name, a circle, or a parent of a later stage."""
    by_slug: dict[str, Task] = {}
    for task in tasks:
        if task.slug in by_slug:
            raise UserError(f"task {task.slug!r} is defined twice; rename one of them")
        by_slug[task.slug] = task
    order = topological({slug: task.after for slug, task in by_slug.items()}, "the chain of tasks")
    for task in by_slug.values():
        later = [slug for slug in task.after if by_slug[slug].stage > task.stage]
        if later:
            raise UserError(
                f"task {task.slug!r} of {task.stage} builds on {later[0]!r} of {by_slug[later[0]].stage}: "
                "a step builds on its own stage or an earlier one"
            )
    # Python's sort is stable: within a stage the order of the chain stays.
    return tuple(sorted((by_slug[slug] for slug in order), key=lambda task: task.stage))


def parents(task: Task, tasks: Mapping[str, Task], present: Iterable[str]) -> tuple[str, ...]:
    """Slugs of those tasks of a case that `task` builds on: what it names, else what those build on, and so on."""
    here = set(present)
    wanted: Sequence[str] = task.after
    while wanted:
        found = [slug for slug in wanted if slug in here]
        if found:
            return tuple(found)
        wanted = list(dict.fromkeys(slug for name in wanted for slug in tasks[name].after))
    return ()


def link(items: Iterable[Item], tasks: Sequence[Task]) -> list[Item]:
    """Items with their parents, chain by chain: cases sorted, the steps of one in chain order."""
    by_slug = {task.slug: task for task in tasks}
    place = {task.slug: number for number, task in enumerate(tasks)}
    cases: dict[str, dict[str, Item]] = {}
    for item in items:
        cases.setdefault(item.case, {})[task_of(item)] = item
    linked = []
    for case in sorted(cases):
        steps = cases[case]
        for slug in sorted(steps, key=place.__getitem__):
            before = tuple(steps[parent].id for parent in parents(by_slug[slug], by_slug, steps))
            linked.append(steps[slug].model_copy(update={"parents": before}))
    return linked


def steps(items: Iterable[Item]) -> list[Item]:
    """The items of one case in an order in which every step stands behind its parents; by stage first.

    Raises UserError for a circle, a parent that is not among them, and a stage that is missing.
    """
    by_id = {item.id: item for item in items}
    for item in by_id.values():
        if item.stage not in STAGES:
            raise UserError(f"item {item.id!r} has no stage: a step of a chain is of S1, S2, S3 or S4")
    order = topological({item.id: item.parents for item in by_id.values()}, "the chain of items")
    return sorted((by_id[name] for name in order), key=lambda item: str(item.stage))
