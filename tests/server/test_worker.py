"""The worker by a clock of its own: fixed looks, deadlines, fairness, company, failure."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_fakes import LAST, OPTIONS, FakeVoter, scheme

from medproof.models.prompts import messages
from medproof.records import View
from medproof.server.jobs import Job, Verdict
from medproof.server.metrics import Metrics
from medproof.server.schemas import AnswerRequest
from medproof.server.worker import Worker
from medproof.smoothing.certificate import certify
from medproof.smoothing.plans import Sequential
from medproof.smoothing.scheme import Scheme
from medproof.smoothing.votes import UNPARSED, Draws, tallied

LOOKS = Sequential(target=0.0, last=LAST).looks


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class SlowVoter(FakeVoter):
    """Every noisy copy takes a second of the clock."""

    def __init__(self, clock: Clock, error: float = 0.0) -> None:
        super().__init__(error)
        self.clock = clock

    def draw(self, requests):
        self.clock.now += sum(request.count for request in requests)
        return super().draw(requests)


def make_job(level=30, seed=1, deadline=1e9, target=None, thinking=False, last=LAST, voter=None):
    item = AnswerRequest(image="", question="How bright is it?", options=OPTIONS).item
    pixels = np.full((28, 56, 3), level, np.uint8)
    made = [
        View(item, condition, mode, messages(item, mode), image)
        for condition, mode, image in (
            ("clean", "direct", pixels),
            ("blank", "direct", np.full_like(pixels, 128)),
            ("clean", "think", pixels),
        )
    ]
    precision = None if target is not None else 1e-9
    own = Scheme(0.25, 0.001, plan=Sequential(target=target, precision=precision, last=last))
    start = own.start((voter or FakeVoter()).classes(item))
    return Job(made[0], made[1], made[2] if thinking else None, seed, own, start, deadline)


def answered(worker: Worker, *jobs: Job) -> list[Verdict]:
    for job in jobs:
        worker.submit(job)
    for _ in range(10_000):
        if all(job.answered.done() for job in jobs):
            return [job.answered.result() for job in jobs]
        worker.round()
    raise AssertionError("the worker never answers")


def make_worker(voter=None, clock=None, batch=64):
    return Worker(voter or FakeVoter(), Metrics(0.25), batch=batch, clock=clock or Clock())


def test_a_certificate_is_that_of_the_votes():
    voter = FakeVoter(error=0.2)
    job = make_job(seed=3)
    (verdict,) = answered(make_worker(voter), job)
    assert verdict.certificate == certify(job.scheme, "request", tally(job, votes(voter, job, LAST)))
    assert verdict.answer == "black"
    assert 0 < verdict.certificate.radius < 0.25 * 0.8416  # sigma Phi^-1(0.8)
    assert verdict.stopped == "spent"


def votes(voter, job, n):
    """The first n votes of a job, one by one."""
    return np.array([voter.one(Draws(job.view, job.seed, d, 1), d) for d in range(n)])


def tally(job, cast):
    """All votes that the plan asks for, look by look."""
    now, used = job.start, 0
    while (step := job.scheme.step(now)).draws:
        now = job.scheme.add(now, tallied(OPTIONS, cast[used : used + step.draws]))
        used += step.draws
    return now


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1200), st.sampled_from([None, 0.05, 0.2])), min_size=1, max_size=4),
    st.integers(1, 200),
    st.sampled_from([0.0, 0.3]),
)
def test_whatever_the_deadlines_only_planned_numbers_of_votes_are_looked_at(wishes, batch, error):
    clock = Clock()
    worker = make_worker(SlowVoter(clock, error), clock, batch)
    jobs = [make_job(seed=i, deadline=d, target=t) for i, (d, t) in enumerate(wishes)]
    for job, verdict in zip(jobs, answered(worker, *jobs), strict=True):
        if verdict.certificate is None:
            assert verdict.answer is None
            assert verdict.stopped == "deadline"
            continue
        n = verdict.certificate.n
        assert n in LOOKS
        assert sum(verdict.certificate.counts.values()) == n
        cast = tallied(OPTIONS, votes(FakeVoter(error), job, n))
        assert dict(verdict.certificate.counts) == dict.fromkeys(OPTIONS, 0) | cast


def test_company_changes_no_vote():
    alone = answered(make_worker(FakeVoter(0.2)), make_job(level=150, seed=5))
    voter = FakeVoter(0.2)
    together = answered(make_worker(voter, batch=48), *(make_job(level=30 * i, seed=i) for i in range(1, 8)))
    assert together[4].certificate.counts == alone[0].certificate.counts
    assert any(len(batch) > 1 for batch in voter.batches)
    assert all(sum(r.count for r in batch) <= 48 for batch in voter.batches)


def test_more_time_gives_a_larger_radius_and_time_up_the_last_look():
    radii = []
    for deadline in (40, 100, 200, 1000):
        clock = Clock()
        (verdict,) = answered(make_worker(SlowVoter(clock), clock), make_job(deadline=deadline))
        radii.append((verdict.certificate.n, verdict.certificate.radius, verdict.stopped))
        assert clock.now <= deadline
    assert [n for n, _, _ in radii] == [32, 64, 128, 256]
    assert sorted(r for _, r, _ in radii) == [r for _, r, _ in radii]
    assert [stopped for *_, stopped in radii] == ["deadline", "deadline", "deadline", "spent"]


def test_a_target_ends_the_vote_early_and_an_impossible_vote_is_given_up():
    (verdict,) = answered(make_worker(), make_job(target=0.1))
    assert verdict.stopped == "proven"
    assert (verdict.certificate.n, verdict.certificate.radius >= 0.1) == (32, True)
    (verdict,) = answered(make_worker(FakeVoter(error=0.5)), make_job(target=0.3))
    assert verdict.stopped == "hopeless"
    assert verdict.certificate.n < LAST


def test_everyone_gets_a_first_look_before_anyone_gets_a_second():
    clock = Clock()
    voter = SlowVoter(clock)
    worker = make_worker(voter, clock, batch=64)
    answered(worker, *(make_job(seed=i, deadline=1e6 - i) for i in range(5)))
    first = [r for batch in voter.batches for r in batch][:5]
    assert [r.seed for r in first] == [4, 3, 2, 1, 0]  # nearest deadline first
    assert {r.first + r.count for r in first} == {32}


def test_no_time_at_all_is_an_abstention_without_certificate():
    clock = Clock()
    clock.now = 5.0
    (verdict,) = answered(make_worker(SlowVoter(clock), clock), make_job(deadline=4.0))
    assert (verdict.answer, verdict.certificate, verdict.blank, verdict.stopped) == (None, None, None, "deadline")


def test_a_pessimistic_clock_does_not_stop_all_questions_for_ever():
    clock = Clock()
    worker = make_worker(SlowVoter(clock), clock)
    worker._row_seconds = 1e6
    (verdict,) = answered(worker, make_job(deadline=40))
    assert verdict.certificate.n == 32


def test_clean_blank_and_words_stand_beside_the_certificate():
    plain, thinking = answered(make_worker(), make_job(level=140), make_job(level=230, thinking=True))
    assert (plain.answer, plain.clean, plain.blank, plain.reply) == ("light", "light", "light", None)
    assert (thinking.answer, thinking.clean, thinking.blank) == ("white", "white", "light")
    assert thinking.reply.text.endswith("<answer>D</answer>")


def test_votes_for_no_option_may_win_and_are_no_answer():
    class Mute(FakeVoter):
        def classes(self, item):
            return (*item.options, UNPARSED)

        def choice(self, view):
            return len(view.item.options)

        def choices(self, views):
            return [None for _ in views]

        def one(self, request, draw):
            return len(OPTIONS)

    voter = Mute()
    (verdict,) = answered(make_worker(voter), make_job(voter=voter))
    assert verdict.answer is None
    assert verdict.certificate.predicted == UNPARSED


class Poisoned(FakeVoter):
    """Fails on any batch that holds the seed 13."""

    def draw(self, requests):
        if any(request.seed == 13 for request in requests):
            raise RuntimeError("poison")
        return super().draw(requests)


def test_one_failing_question_takes_no_other_along():
    worker = make_worker(Poisoned(0.2))
    jobs = [make_job(seed=seed) for seed in (1, 13, 2)]
    for job in jobs:
        worker.submit(job)
    while not all(job.answered.done() for job in jobs):
        worker.round()
    with pytest.raises(RuntimeError, match="poison"):
        jobs[1].answered.result()
    good = answered(make_worker(FakeVoter(0.2)), make_job(seed=1), make_job(seed=2))
    assert [jobs[i].answered.result().certificate for i in (0, 2)] == [verdict.certificate for verdict in good]


def test_a_voter_that_miscounts_is_caught():
    class Short(FakeVoter):
        def draw(self, requests):
            return [votes[:-1] for votes in super().draw(requests)]

    with pytest.raises(RuntimeError, match="31 votes"):
        answered(make_worker(Short()), make_job())


def test_closing_answers_what_is_open():
    worker = make_worker(FakeVoter(0.2), clock=None)
    jobs = [make_job(seed=i) for i in range(6)]
    for job in jobs:
        worker.submit(job)
    worker.start()
    worker.close()
    assert all(job.answered.done() for job in jobs)
    assert not worker.alive


def test_the_plan_of_the_server_and_of_a_target_have_the_same_looks():
    assert scheme().plan.looks == LOOKS
