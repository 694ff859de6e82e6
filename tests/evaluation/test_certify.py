"""Certificates do not depend on kills, shards, batches or workers; plans stop where they should."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import fake_voter
from fake_voter import PLAN, SIGMA, HalfSpace, certify_fake, make_dataset
from medproof.datasets import Dataset
from medproof.evaluation.certify import CHUNK, certificates_from_counts
from medproof.evaluation.images import ImageLoader
from medproof.images.preprocess import to_float
from medproof.runs.store import RunStore
from medproof.smoothing.counts import CountLog
from medproof.smoothing.plans import Fixed, Sequential
from medproof.smoothing.scheme import Scheme

PROGRAM = Path(fake_voter.__file__)
PATIENCE = 120  # seconds; a test machine may be busy


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    folder = tmp_path / "data"
    folder.mkdir()
    return make_dataset(folder)


def test_radii_never_exceed_the_true_distance_and_come_close(dataset: Dataset, tmp_path: Path) -> None:
    model = HalfSpace()
    certificates, summary = certify_fake(tmp_path / "run", dataset, plan=Fixed(4000))
    assert summary.complete
    assert summary.decided == len(dataset.items)
    load = ImageLoader(dataset, model.grid)
    for item, certificate in zip(dataset.items, certificates, strict=True):
        distance = float(model.distance(to_float(load(item))))
        assert certificate.radius <= abs(distance)
        if certificate.predicted is not None:
            assert certificate.predicted == ("high" if distance > 0 else "low")
        if 0.2 < abs(distance) < 2 * SIGMA:
            assert certificate.radius > 0.8 * abs(distance)
    assert {c.predicted for c in certificates} >= {"high", "low"}


def test_a_sequential_plan_stops_early_where_it_can(dataset: Dataset, tmp_path: Path) -> None:
    certificates, summary = certify_fake(tmp_path / "run", dataset)
    stops = {c.item_id: c.stop for c in certificates}
    assert set(stops.values()) >= {"proven", "hopeless"}
    assert summary.draws == sum(c.n for c in certificates) < PLAN.last * len(certificates) / 3


def test_running_again_draws_nothing(dataset: Dataset, tmp_path: Path) -> None:
    first, _ = certify_fake(tmp_path / "run", dataset)
    model = HalfSpace()
    again, summary = certify_fake(tmp_path / "run", dataset, model)
    assert again == first
    assert summary.draws == 0
    assert not model.sizes
    assert summary.present == len(first)


@pytest.mark.parametrize("batch", [32, 128])
def test_a_larger_plan_goes_on_from_the_logged_votes(dataset: Dataset, tmp_path: Path, batch: int) -> None:
    certify_fake(tmp_path / "run", dataset, plan=Fixed(300))
    grown, summary = certify_fake(tmp_path / "run", dataset, plan=Fixed(500), batch=batch)
    fresh, _ = certify_fake(tmp_path / "fresh", dataset, plan=Fixed(500))
    assert grown == fresh
    assert summary.draws == 200 * len(dataset.items)


def test_questions_on_one_image_share_its_copies(dataset: Dataset, tmp_path: Path) -> None:
    model = HalfSpace()
    _, summary = certify_fake(tmp_path / "run", dataset, model, plan=Fixed(64))
    assert sum(model.sizes) == summary.draws / 2  # two questions on each


def test_other_plans_and_bounds_need_no_model(dataset: Dataset, tmp_path: Path) -> None:
    certify_fake(tmp_path / "run", dataset, plan=Fixed(512))
    scheme = Scheme(SIGMA, 0.001, plan=PLAN)
    found, short = certificates_from_counts(RunStore(tmp_path / "run"), scheme, base="option_argmax", rounded=False)
    drawn, _ = certify_fake(tmp_path / "drawn", dataset, plan=PLAN)
    assert list(found.certificates) == drawn
    assert not short


def test_votes_that_end_before_the_plan_are_told(dataset: Dataset, tmp_path: Path) -> None:
    certify_fake(tmp_path / "run", dataset, plan=Fixed(40))
    store = RunStore(tmp_path / "run")
    scheme = Scheme(SIGMA, 0.001, plan=Sequential(target=0.4, last=512))
    found, short = certificates_from_counts(store, scheme, base="option_argmax", rounded=False)
    opened = [c.item_id for c in found.certificates if c.stop == "open"]
    assert short == opened
    assert opened
    _, missing = certificates_from_counts(store, Scheme(0.25), base="option_argmax", rounded=False)
    assert len(missing) == len(dataset.items)


def test_an_image_that_cannot_be_read_costs_its_own_items_only(dataset: Dataset, tmp_path: Path) -> None:
    whole, _ = certify_fake(tmp_path / "whole", dataset)
    (dataset.root / "1.png").write_bytes(b"no picture")
    rest, summary = certify_fake(tmp_path / "run", dataset)
    assert set(summary.errors) == {"item02", "item03"}
    assert not summary.complete
    assert rest == [c for c in whole if c.item_id not in summary.errors]


def test_an_item_that_makes_the_model_fail_costs_itself_only(dataset: Dataset, tmp_path: Path) -> None:
    class Fails(HalfSpace):
        def copy_letters(self, copies, views, rows):  # type: ignore[no-untyped-def]
            if any(view.item.id == "item03" for asked in views for view in asked):
                raise RuntimeError("no answer")
            return super().copy_letters(copies, views, rows)

    rest, summary = certify_fake(tmp_path / "run", dataset, Fails())
    assert list(summary.errors) == ["item03"]
    assert "no answer" in summary.errors["item03"]
    assert len(rest) == len(dataset.items) - 1


def test_an_interruption_keeps_what_is_logged(dataset: Dataset, tmp_path: Path) -> None:
    class Stops(HalfSpace):
        def copy_letters(self, copies, views, rows):  # type: ignore[no-untyped-def]
            if sum(self.sizes) > 200:
                raise KeyboardInterrupt
            return super().copy_letters(copies, views, rows)

    whole, _ = certify_fake(tmp_path / "whole", dataset)
    _, summary = certify_fake(tmp_path / "run", dataset, Stops())
    assert summary.interrupted
    assert summary.draws > 0
    resumed, rest = certify_fake(tmp_path / "run", dataset)
    assert resumed == whole
    assert summary.draws + rest.draws == sum(c.n for c in whole)


def start(dataset: Dataset, run: Path, delay: float) -> subprocess.Popen[str]:
    words = [str(dataset.root), str(run), str(delay), str(len(dataset.items))]
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(PROGRAM), *words], stdout=subprocess.PIPE, text=True, env=environment)


def logged(run: Path) -> int:
    log = CountLog(run)
    log.refresh()
    return sum(len(log.votes(stream.key)) for stream in log.streams())


@pytest.mark.slow
def test_killed_again_and_again_and_resumed(dataset: Dataset, tmp_path: Path) -> None:
    whole, _ = certify_fake(tmp_path / "whole", dataset)
    run, kills = tmp_path / "run", 0
    for _ in range(3):
        before = logged(run)
        process = start(dataset, run, delay=0.03)
        deadline = time.monotonic() + PATIENCE
        while logged(run) == before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        kills += process.poll() is None
        process.kill()
        process.communicate()
    assert kills >= 2
    assert 0 < logged(run) < sum(c.n for c in whole)
    resumed, _ = certify_fake(run, dataset)
    assert resumed == whole


@pytest.mark.slow
def test_two_processes_share_the_work(dataset: Dataset, tmp_path: Path) -> None:
    whole, _ = certify_fake(tmp_path / "whole", dataset)
    run = tmp_path / "run"
    both = [start(dataset, run, delay=0.02) for _ in range(2)]
    drawn = [int(process.communicate(timeout=PATIENCE)[0]) for process in both]
    assert sum(drawn) == sum(c.n for c in whole)
    finished, summary = certify_fake(run, dataset)
    assert finished == whole
    assert summary.draws == 0


def test_a_round_loses_at_most_one_chunk(dataset: Dataset, tmp_path: Path) -> None:
    certify_fake(tmp_path / "run", dataset, plan=Fixed(1000))
    rows = [row for file in (tmp_path / "run" / "counts").glob("*") for row in file.read_text().splitlines()]
    assert all(f'"count": {CHUNK}' in row or '"count": 232' in row for row in rows)


def test_torch_is_not_moved(dataset: Dataset, tmp_path: Path) -> None:
    """The caller's random state is left alone."""
    before = torch.random.get_rng_state()
    certify_fake(tmp_path / "run", dataset, plan=Fixed(64))
    assert torch.equal(before, torch.random.get_rng_state())
