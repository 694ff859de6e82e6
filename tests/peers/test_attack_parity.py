"""A small form of `benchmarks/attack_parity.py`: our attacks are at least as strong as foolbox's and ART's.

Skips where foolbox, ART or scikit-learn are absent; AutoAttack runs only in the benchmark itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

for package in ("sklearn", "foolbox", "art"):
    pytest.importorskip(package, reason=f"{package} is absent: pip install 'medproof[peers]' scikit-learn")

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import attack_parity as parity  # noqa: E402

pytestmark = pytest.mark.slow
COUNT = 24


@pytest.fixture(scope="module")
def case():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield parity.make_case(COUNT, epochs=3)
    torch.set_num_threads(threads)


def test_every_claim_holds(case):
    clean = (parity.predictions(case.net, case.images) == case.labels).float().mean()
    assert clean > 0.8  # else there is nothing to attack
    found = parity.run(case, autoattack_python=None, foolbox_cw_steps=40)
    claims = parity.claims(found)
    assert len(claims) == 3
    assert all(claims.values()), (claims, found)
    assert all(row["outside"] == 0 for row in found["linf"].values())
    assert all(row["found"] == COUNT for row in found["l2"].values())


def test_the_judge_does_not_count_images_out_of_the_ball(case):
    inverted = 1 - case.images
    assert (parity.predictions(case.net, inverted) != case.labels).any()
    judged = parity.judge_linf(case, inverted)
    assert judged["outside"] == COUNT
    assert judged["robust_float"] == 100
