"""Votes are those of the model on the noisy copies, whatever is asked beside them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fake_voter import SIDE, HalfSpace, grey, make_item, make_view
from medproof.errors import UserError
from medproof.images.preprocess import to_float
from medproof.models.protocol import Reply
from medproof.records import Decoding, Mode, View
from medproof.smoothing.noise import noisy_copies, standard_normal
from medproof.smoothing.votes import BLOCK, Draws, VoteEngine, tallied

SIGMA = 0.5


def expected(model: HalfSpace, draws: Draws) -> list[int]:
    assert draws.view.image is not None
    normal = torch.from_numpy(standard_normal(draws.seed, draws.first, draws.count, (3, SIDE, SIDE)))
    copies = noisy_copies(to_float(draws.view.image), SIGMA, normal)
    return [int(d <= 0) for d in model.distance(copies)]


def near(model: HalfSpace, distance: float = 0.2) -> View:
    """A view at about this distance from the half-space."""
    level = (model.at + distance) / math.sqrt(3 * SIDE * SIDE) * 255
    return make_view(grey(round(level)))


@pytest.mark.parametrize("batch", [1, BLOCK, 3 * BLOCK])
def test_votes_are_those_on_the_noisy_copies(batch: int) -> None:
    model = HalfSpace()
    requests = [
        Draws(near(model), 11, 0, 70),
        Draws(near(model, -0.3), 12, 40, 33),
        Draws(near(model), 11, 70, 5),
        Draws(near(model), 11, 5, 0),
    ]
    votes = VoteEngine(model, SIGMA, batch=batch).draw(requests)
    assert [v.tolist() for v in votes] == [expected(model, request) for request in requests]
    assert len(set(votes[0].tolist())) == 2
    assert max(model.sizes) <= max(batch, BLOCK)


def test_shards_make_the_whole() -> None:
    model = HalfSpace()
    engine = VoteEngine(model, SIGMA)
    (whole,) = engine.draw([Draws(near(model), 3, 0, 100)])
    parts = engine.draw([Draws(near(model), 3, first, 20) for first in range(0, 100, 20)])
    assert np.concatenate(parts).tolist() == whole.tolist()


def test_full_batches_are_shared_by_images_at_different_progress() -> None:
    model = HalfSpace()
    views = [make_view(grey(level)) for level in (100, 120, 140, 160)]
    VoteEngine(model, SIGMA, batch=4 * BLOCK).draw([Draws(v, k, 32 * k, 32) for k, v in enumerate(views)])
    assert model.sizes == [4 * BLOCK]


def test_questions_on_one_image_share_its_copies() -> None:
    model, pixels = HalfSpace(), grey(130)
    first, second = make_view(pixels), make_view(pixels, make_item(1))
    votes = VoteEngine(model, SIGMA).draw([Draws(first, 5, 0, 64), Draws(second, 5, 0, 64)])
    assert sum(model.sizes) == 64
    assert votes[0].tolist() == votes[1].tolist()
    VoteEngine(model, SIGMA).draw([Draws(first, 5, 0, 64), Draws(second, 6, 0, 64)])
    assert sum(model.sizes) == 64 + 128


def test_rounded_copies_are_on_the_grid_and_not_clipped() -> None:
    model = HalfSpace()
    VoteEngine(model, SIGMA, rounded=True).draw([Draws(near(model), 5, 0, 8)])
    levels = model.shown[0].double() * 255
    assert float((levels - levels.round()).abs().max()) < 1e-4
    assert levels.min() < -1
    assert levels.max() > 256


def test_out_of_memory_halves_the_batch_and_loses_no_vote() -> None:
    class Small(HalfSpace):
        def copy_letters(self, copies, views, rows):  # type: ignore[no-untyped-def]
            if sum(len(one) for one in copies) > 10:
                raise torch.OutOfMemoryError("full")
            return super().copy_letters(copies, views, rows)

    model = Small()
    engine = VoteEngine(model, SIGMA, batch=2 * BLOCK)
    requests = [Draws(near(model), 11, 0, 64), Draws(near(model, 0.4), 12, 0, 40)]
    assert [v.tolist() for v in engine.draw(requests)] == [expected(model, r) for r in requests]
    assert engine.batch < BLOCK


def test_logits_that_are_not_finite_are_no_vote() -> None:
    model = HalfSpace(at=math.nan)
    with pytest.raises(FloatingPointError, match="item00"):
        VoteEngine(model, SIGMA).draw([Draws(make_view(grey(130)), 5, 0, 8)])


def test_unparsed_replies_are_a_class_and_never_dropped() -> None:
    model = HalfSpace(unreadable=-0.3)
    engine = VoteEngine(model, SIGMA, base="greedy")
    request = Draws(replace(near(model), mode="think"), 11, 0, 200)
    (votes,) = engine.draw([request])
    assert engine.classes(request.view.item) == ("high", "low", "unparsed")
    counts = tallied(engine.classes(request.view.item), votes)
    assert sum(counts.values()) == 200
    assert counts["unparsed"] > 10
    assert counts["high"] == expected(model, request).count(0)


def test_every_sampled_draw_has_random_numbers_of_its_own() -> None:
    model = HalfSpace()
    engine = VoteEngine(model, SIGMA, base="sampled")
    views = [near(model), replace(near(model), item=make_item(1))]
    engine.draw([Draws(view, 11, 0, 40) for view in views])
    assert len(set(model.seeds)) == 80
    assert engine.decoding(views[0]).temperature == 1
    again = HalfSpace()
    VoteEngine(again, SIGMA, base="sampled").draw([Draws(views[0], 11, 20, 20)])
    assert set(again.seeds) < set(model.seeds)


class FileModel:
    """Level 1 only, as behind an API: sees 8-bit images."""

    name, grid, weights_hash, processor_hash = "api", None, "w", "p"

    def __init__(self) -> None:
        self.views: list[View] = []

    def decoding(self, mode: Mode) -> Decoding:
        return Decoding()

    def cost(self, view: View) -> int:
        return 1

    def generate(self, views: list[View], decoding: Decoding, seed: int = 0) -> list[Reply]:
        self.views.extend(views)
        return [Reply("<answer>A</answer>" if v.image.mean() > 130 else "?", 1, 1, False) for v in views]  # type: ignore[union-attr]


def test_a_model_of_files_is_shown_clipped_copies_and_has_no_option_argmax() -> None:
    model = FileModel()
    (votes,) = VoteEngine(model, SIGMA, base="sampled").draw([Draws(make_view(grey(200), mode="think"), 3, 0, 16)])
    assert votes.tolist() == [0] * 16
    assert len({view.condition for view in model.views}) == 16
    assert all(view.image is not None and view.image.dtype == np.uint8 for view in model.views)
    with pytest.raises(UserError, match="log-probabilities"):
        VoteEngine(model, SIGMA, base="option_argmax")


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.inf, math.nan])
def test_sigma_is_positive(sigma: float) -> None:
    with pytest.raises(UserError, match="sigma"):
        VoteEngine(HalfSpace(), sigma)


def test_a_view_without_image_is_refused() -> None:
    with pytest.raises(ValueError, match="no image"):
        VoteEngine(HalfSpace(), SIGMA).draw([Draws(replace(near(HalfSpace()), image=None), 3, 0, 4)])
