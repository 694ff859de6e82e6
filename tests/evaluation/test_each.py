"""Answers in threads: each once, handed on as they come, and never more begun and not handed on than allowed."""

import threading
import time
from concurrent.futures import wait

import pytest

from medproof.evaluation import each
from medproof.evaluation.each import run_each


def fail(task, reason):
    return (task, reason)


def test_every_task_is_answered_once_and_failures_are_its_own():
    def answer(tasks):
        (task,) = tasks
        if task % 5 == 0:
            raise RuntimeError("no")
        return [(task, "ok")]

    found = [one for some in run_each(range(23), answer, fail, 4) for one in some]
    assert sorted(found) == [(n, "RuntimeError: no" if n % 5 == 0 else "ok") for n in range(23)]


@pytest.mark.parametrize("at_once", [1, 3])
def test_no_more_is_begun_than_was_taken_over_and_may_be_under_way(at_once):
    begun, lock, taken = [], threading.Lock(), 0

    def answer(tasks):
        with lock:
            begun.append(tasks[0])
        return [tasks[0]]

    for some in run_each(range(12), answer, fail, at_once):
        time.sleep(0.01)  # a slow disk
        assert len(begun) - taken <= at_once
        taken += len(some)
    assert taken == 12


def test_a_slow_one_does_not_hold_up_the_others():
    release = threading.Event()

    def answer(tasks):
        if tasks[0] == 0:
            assert release.wait(30)
        return [tasks[0]]

    order = []
    for some in run_each(range(6), answer, fail, 2):
        order += some
        if len(order) == 5:
            release.set()
    assert order == [1, 2, 3, 4, 5, 0]


def test_an_interruption_keeps_what_is_under_way(monkeypatch):
    waits, found = [], []

    def interrupted(futures, **options):
        waits.append(len(futures))
        if len(waits) == 1:
            raise KeyboardInterrupt
        return wait(futures, **options)

    def collect():
        for some in run_each(range(9), lambda tasks: list(tasks), fail, 2):
            found.extend(some)

    monkeypatch.setattr(each, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        collect()
    assert sorted(found) == [0, 1]


def test_nothing_to_do():
    assert list(run_each([], fail, fail, 2)) == []
