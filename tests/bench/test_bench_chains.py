"""Chains: order, circles, and what takes the place of a missing step."""

import pytest

from medproof.bench.catalog import TASKS
from medproof.bench.chains import check_tasks, parents, steps, topological
from medproof.bench.task import Task
from medproof.errors import UserError
from medproof.records import Item


def task(slug: str, stage: str, *after: str) -> Task:
    return Task(slug, stage, "Disease Diagnosis", "yes/no", "label", ("?",), lambda case: (), after)


def test_the_built_in_tasks_are_a_chain() -> None:
    ordered = check_tasks(TASKS)
    seen: set[str] = set()
    for one in ordered:
        assert set(one.after) <= seen
        seen.add(one.slug)
    assert [one.stage for one in ordered] == sorted(one.stage for one in ordered)


def test_a_circle_is_named() -> None:
    with pytest.raises(UserError, match="goes in a circle: a -> b -> c -> a"):
        topological({"a": ["b"], "b": ["c"], "c": ["a"]})
    with pytest.raises(UserError, match="builds on 'z', which is not there"):
        topological({"a": ["z"]})


def test_steps_do_not_build_on_later_stages() -> None:
    with pytest.raises(UserError, match="'early' of S2 builds on 'late' of S4"):
        check_tasks([task("early", "S2", "late"), task("late", "S4")])
    with pytest.raises(UserError, match="defined twice"):
        check_tasks([task("a", "S1"), task("a", "S1")])


def test_what_a_missing_step_builds_on_takes_its_place() -> None:
    tasks = {
        t.slug: t for t in (task("a", "S1"), task("b", "S2", "a"), task("c", "S3", "b"), task("d", "S4", "c", "b"))
    }
    assert parents(tasks["d"], tasks, "abc") == ("c", "b")
    assert parents(tasks["d"], tasks, "ab") == ("b",)
    assert parents(tasks["d"], tasks, "a") == ("a",)
    assert parents(tasks["d"], tasks, "") == ()


def step(name: str, stage: str | None, *before: str) -> Item:
    return Item(
        id=name,
        image="a.png",
        case="c",
        modality="CT",
        question_type="Disease Diagnosis",
        stage=stage,
        question="?",
        options=("yes", "no"),
        answer="no",
        parents=before,
    )


def test_steps_of_a_case() -> None:
    items = [step("d", "S4", "c"), step("c", "S2", "b"), step("b", "S1"), step("x", "S1")]
    assert [item.id for item in steps(items)] == ["b", "x", "c", "d"]
    with pytest.raises(UserError, match="the chain of items goes in a circle: a -> b -> a"):
        steps([step("a", "S2", "b"), step("b", "S2", "a")])
    with pytest.raises(UserError, match="'a' has no stage"):
        steps([step("a", None)])
